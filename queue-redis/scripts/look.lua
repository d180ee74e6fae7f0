-- Shows one job.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 id (16 bytes).
-- Returns  the ten parts of the job; or the youngest id pruned so far, if any.
-- Cost  at most 9 commands.
local found = call('HGET', JOBS, ARGV[3])
if not found then return {call('HGET', META, 'youngest') or ''} end
local answer = {}
show(answer, ARGV[3], found, call('HGET', MARKS, ARGV[3]))
return answer
