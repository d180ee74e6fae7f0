-- Tells what the jobs before a job hand on to it.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 id (16 bytes).
-- Returns  its record, and what those it waits for hand on (handed); nothing if it is not stored.
-- Cost  3 commands, 1 for each that ended without completing.
local record = call('HGET', JOBS, ARGV[3])
if not record then return {} end
local K = kit()
local answer = {record}
S.handed(K).add(answer, K.read(record).parents or {})
return answer
