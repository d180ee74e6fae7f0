-- Counts what the shard holds.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH.
-- Returns  jobs ready, parked, scheduled, retrying, running, due, ever taken in, and ended as completed, cancelled, expired
--       and dead; then how many of those four were pruned.
-- Cost  12 commands.
local kept = call('HMGET', META, 'enqueued', 'e:c', 'e:x', 'e:e', 'e:d', 'p:c', 'p:x', 'p:e', 'p:d')
local parked = call('ZCARD', PARKED) + call('ZCARD', KEYS[24]) + call('ZCARD', KEYS[25]) + call('ZCARD', KEYS[30])
local answer = {call('ZCARD', READY) + call('ZCARD', SUSPECTS) + parked, parked, call('ZCARD', DELAYED),
  call('ZCARD', RETRYING), call('ZCARD', LEASED),
  call('ZCOUNT', DELAYED, '-inf', now) + call('ZCOUNT', RETRYING, '-inf', now)}
for i = 1, 9 do
  answer[6 + i] = tonumber(kept[i]) or 0
end
return answer
