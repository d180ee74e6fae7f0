-- Forgets a worker and its numbers. What it still holds counts as never delivered, unless it runs at most once: `g` keeps
-- the fence up to which that is so.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 worker (16 bytes).
-- Returns  `ok`.
-- Cost  4 commands.
local worker = ARGV[3]
local last = call('HGET', META, 'n:' .. worker)
if last then
  call('HSET', META, 'g:' .. worker, (open('>I8', last, 9)))
  if byte(last, 17) == 1 then call('ZREM', SLEEPERS, sub(last, 18, 43) .. worker) end
end
call('HDEL', META, 'w:' .. worker, 'n:' .. worker)
return 'ok'
