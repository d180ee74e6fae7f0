-- Changes schedules, each by compare-and-set and with the jobs of its tick, and tells which are due.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, then for each change the name, the version (8) that it must have or nothing if it
--       must not be stored, when it is to be due (8, NONE8 for never) and its data or nothing to remove it, how many jobs
--       come with it, and of each its id (16 bytes) and the part of its record that the caller makes.
-- Returns  the time (8), `1` if more are due than are told, else `0`, and `1` if the shard had never taken a schedule or a
--       job in, else `0`; for each change `-` if it is stale, or `+` and the answers for its jobs as `enqueue` has them; then
--       of each schedule that is due, the earliest first, its name and its record.
-- Cost  1 command if there is nothing to change and nothing is due; 1 and another for each sixteen to tell what is due; about
--       8 to change, and what it costs to take the jobs in. At most 100 changes and 1,000 jobs, which the caller sees to;
--       100 that are due, and no further once their data holds 4 MiB.
local kept = call('HMGET', META, 'seq', 'fence', 'ticks', 'enqueued')
local fence, first = tonumber(kept[2]) or 0, tonumber(kept[3])
S.sequence = tonumber(kept[1]) or 0

local changes, names, at = {}, {}, 3
while at <= #ARGV do
  local change = {name = ARGV[at], version = ARGV[at + 1], to = ARGV[at + 2], jobs = tonumber(ARGV[at + 3]), at = at + 4}
  changes[#changes + 1], names[#names + 1] = change, change.name
  at = change.at + change.jobs * 2
end

-- Schedules as they are stored, and as each change leaves them to those behind it: records, or false. The jobs that come in.
local before, after, changed, ids, parts = {}, {}, {}, {}, {}
for i, record in ipairs(#names > 0 and call('HMGET', SCHEDULES, unpack(names)) or {}) do
  before[names[i]], after[names[i]] = record, record
end
for _, change in ipairs(changes) do
  local record = after[change.name]
  change.applies = (record and sub(record, 1, 8) or '') == change.version
  if change.applies then
    fence = math.max(fence + 1, now)
    after[change.name], changed[change.name] = change.to ~= '' and pack('>I8', fence) .. change.to, true
    change.first = #ids + 1
    for i = change.at, change.at + change.jobs * 2 - 1, 2 do
      ids[#ids + 1], parts[#parts + 1] = ARGV[i], ARGV[i + 1]
    end
  end
end
local count = #ids

-- When the next schedule is to be due. Whoever sleeps has been told of it, and whether one was due.
local function next_tick()
  local member = call('ZRANGEBYLEX', CALENDAR, '(d' .. pack('>I8', now) .. '\255', '(e', 'LIMIT', 0, 1)[1]
  return member and open('>I8', member, 2)
end

local next_before = next(changed) and next_tick()
