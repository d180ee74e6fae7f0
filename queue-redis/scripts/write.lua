-- Writes something small that no shard owns, although memory may be full: without it no worker could come to free some.
--
-- KEYS  the one key.
-- ARGV  the command and what follows the key in it.
-- Returns  what the command answers.
-- Cost  1 command.
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
