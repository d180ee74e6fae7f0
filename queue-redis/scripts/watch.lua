-- Notes that someone watches the shard, for half a minute from now: whoever calls meanwhile is told so.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH.
-- Returns  `ok`.
-- Cost  2 commands.
call('HSET', META, 'watch', string.format('%.0f', now + 30000000))
return 'ok'
