-- Takes jobs in, in one step.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 caller (16 bytes), 4 number, then for each job its id (16 bytes) and the part
--       of its record that the caller makes: flags, task, what is not usual, envelope.
-- Returns  `ok` and the answers, one after the other: the state's letter for a job taken in, its capital for a duplicate,
--       `?` and an id for an unknown dependency, `*` and a count for that many that are all ready; `=` for one that another
--       of its unique key keeps out, `!` for one that is refused therefore and `~` for one by which the other was replaced,
--       each followed by the other's id and its state's letter, `-` if it is not stored; then 1 if the shard had never taken
--       a job in, else 0, and 1 if anyone watches the shard, else 0. Or `superseded` and the number that came first.
-- Cost  about 11 commands, and for each further job one member of a variadic HSET and ZADD, another of each if it expires;
--       a job that waits costs a command and two for each job it waits for, one with slots a command for each key that is
--       new to this call, one that replaces another about 10. At most 1,000 jobs and 1,000 edges, which the
--       caller sees to.
local caller, number, count = ARGV[3], tonumber(ARGV[4]), (#ARGV - 4) / 2
local kept = call('HMGET', META, 'seq', 'c:' .. caller, 'watch')
local is_watched = now < (tonumber(kept[3]) or 0) and 1 or 0
if kept[2] then
  local last = open('>I8', kept[2])
  if number == last then return {'ok', sub(kept[2], 9), 0, is_watched} end
  if number < last then return {'superseded', last} end
end
S.sequence = tonumber(kept[1]) or 0
local ids, parts = {}, {}
for i = 1, count do
  ids[i], parts[i] = ARGV[3 + i * 2], ARGV[4 + i * 2]
end
