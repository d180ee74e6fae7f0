-- Tells how a key is used.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 key.
-- Returns  now, who keeps others of this unique key out and until when (16 + 8 bytes; nothing if nobody ever did), how many
--       hold a slot, are parked for one and for the rate, and when all that has started under the rate is paid for.
-- Cost  5 commands.
local SLOTS, BLOCKED, THROTTLED, _, RATES, UNIQUE = unpack(KEYS, 23)
local from, to = '[' .. ARGV[3] .. '\0', '[' .. ARGV[3] .. '\0' .. rep('\255', 30)
return {string.format('%.0f', now), call('HGET', UNIQUE, ARGV[3]), call('ZLEXCOUNT', SLOTS, from, to),
  call('ZLEXCOUNT', BLOCKED, from, to), call('ZLEXCOUNT', THROTTLED, from, to), call('ZSCORE', RATES, ARGV[3])}
