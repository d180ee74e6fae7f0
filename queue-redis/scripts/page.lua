-- Shows jobs in the order in which they were taken in; dead letters, if only these are asked for, by their death, the last
-- first.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 the block and 4 the place in it to go on from, 5 the most jobs, 6 only this
--       state's letter or nothing, and likewise 7 this task, 8 this tag, 9 this worker (16 bytes), 10 this reason, 11 taken
--       in then or later, 12 before then, 13 this key. For dead letters, 3 and 4 are time and id (16 bytes) of the one to go on behind,
--       or both nothing.
-- Returns  what to go on from, as 3 and 4, or nothing twice at the end; then the ten parts of each job.
-- Cost  4 commands for each block of up to 63 jobs looked at, or for each 100 dead letters and 20 to find the place; up to 8
--       for each job shown. At most 1,000 jobs and 4 MiB.
local limit, state, task, tag, ran_by, reason = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local since, before, key = tonumber(ARGV[11]), tonumber(ARGV[12]), ARGV[13]
local MAX_LOOKED, MAX_BYTES = 1000, 4194304
local answer, shown, looked, bytes = {false, false}, 0, 0, 0

local K = kit()

local function state_of(record, mark)
  if mark then return sub(mark, 1, 1) end
  return K.read(record).kind == 'n' and 'r' or 's'
end

local function is_tagged(record)
  for _, one in ipairs(K.read(record).tags or {}) do
    if one == tag then return true end
  end
  return false
end

local function came_in_time(id, record)
  local at = K.taken_in(id, record)
  return not (since and at < since or before and at >= before)
end

local function fits(id, record, mark)
  return (state == '' or state_of(record, mark) == state)
    and (task == '' or sub(record, 9, 8 + byte(record, 8)) == task)
    and (ran_by == '' or mark and sub(mark, 52, 67) == ran_by)
    and (reason == '' or mark and byte(mark) ~= 99 and K.is_end(sub(mark, 1, 1)) and sub(mark, 76) == reason)
    and (tag == '' or is_tagged(record)) and came_in_time(id, record)
    and (key == '' or byte(record, 7) > 127 and S.limits(K).has_key(record, key))
end

local function is_full()
  return shown == limit or looked == MAX_LOOKED or bytes >= MAX_BYTES
end

local function look_at(id, record, mark)
  if not fits(id, record, mark) then return end
  shown, bytes = shown + 1, bytes + #record
  show(answer, id, record, mark)
end

-- Walks one block from a place on; answers where it stopped for a bound. A job that was pruned and taken in anew stands
-- where it last came.
local function walk(number, ids, from)
  local wanted, last = {}, {}
  for at = from, (#ids - 1) / 16 - 1 do
    local id = sub(ids, 2 + at * 16, 17 + at * 16)
    wanted[#wanted + 1] = id
    last[id] = #wanted
  end
  if #wanted == 0 then return end
  local records, marks = call('HMGET', JOBS, unpack(wanted)), call('HMGET', MARKS, unpack(wanted))
  for i, id in ipairs(wanted) do
    if is_full() then return from + i - 1 end
    looked = looked + 1
    local here = records[i] and last[id] == i and math.floor(open('>I6', records[i]) / BLOCK) == number
    if here then look_at(id, records[i], marks[i]) end
  end
end

local function walk_all()
  local from, block = tonumber(ARGV[4]), tonumber(ARGV[3])
  while true do
    local numbers = call('ZRANGEBYSCORE', INDEX, block, '+inf', 'LIMIT', 0, 1)
    if #numbers == 0 then return end
    local number = tonumber(numbers[1])
    local place = walk(number, call('HGET', BLOCKS, numbers[1]), number == block and from or 0)
    if place then
      answer[1], answer[2] = numbers[1], tostring(place)
      return
    end
    block, from = number + 1, 0
  end
end

-- Whether the dead letter of this rank, the last to die being 0, stands behind that one, which may be gone.
local function is_behind(rank, time, id)
  local found = call('ZRANGE', DEAD, rank, rank, 'REV', 'WITHSCORES')
  local at = tonumber(found[2])
  if at ~= time then return at < time end
  return K.before(found[1], id)
end

-- The rank of the first behind that one.
local function rank_behind(time, id)
  local low, high = 0, call('ZCARD', DEAD)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_behind(middle, time, id) then high = middle else low = middle + 1 end
  end
  return low
end

local function walk_dead()
  local rank = ARGV[3] == '' and 0 or rank_behind(tonumber(ARGV[3]), ARGV[4])
  while true do
    local found, ids = call('ZRANGE', DEAD, rank, rank + 99, 'REV', 'WITHSCORES'), {}
    if #found == 0 then return end
    for i = 1, #found, 2 do
      ids[#ids + 1] = found[i]
    end
    local records, marks = call('HMGET', JOBS, unpack(ids)), call('HMGET', MARKS, unpack(ids))
    for i, id in ipairs(ids) do
      look_at(id, records[i], marks[i])
      looked = looked + 1
      if is_full() then
        if rank + i < call('ZCARD', DEAD) then answer[1], answer[2] = found[i * 2], id end
        return
      end
    end
    rank = rank + #ids
  end
end

if state == 'd' then walk_dead() else walk_all() end
return answer
