-- Makes a worker known to the shard.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 worker (16 bytes), 4 its terms: length 8, renewal 8, crash limit 4 (0 for none),
--       keep of the dead 8, level 2, keep of what it expires or revokes 8, how many runs of a job are remembered 4, the ear
--       by which its process may be told to stop a run 26, a NUL and after each task's name a NUL.
-- Returns  `ok`.
-- Cost  2 commands.
call('HSET', META, 'w:' .. ARGV[3], ARGV[4])
call('ZADD', IDLE, now, 'w:' .. ARGV[3])
return 'ok'
