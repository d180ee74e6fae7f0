-- Tells what people say of the shard, or replaces it unless it was changed meanwhile.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH; to replace: 3 what was told before, 4 what is said now, 5 `*` to wake everyone who
--       sleeps, a worker (16 bytes) to wake that one, or nothing.
-- Returns  the time (8) and what is said, as `rules.lua` has it; or `ok`.
-- Cost  3 commands, and one for each who is woken. At most 1,000.
local found = call('HGET', META, 'rules') or ''
if #ARGV == 2 or found ~= ARGV[3] then return pack('>I8', now) .. found end
if ARGV[4] == '' then
  call('HDEL', META, 'rules')
else
  call('HSET', META, 'rules', ARGV[4])
end

local function wake(ear, worker)
  call(ARGV[2], sub(META, 1, -5) .. 'ear:' .. ear, 'w' .. worker)
end

if ARGV[5] == '*' then
  local sleepers = call('ZPOPMAX', SLEEPERS, 1000)
  for i = 1, #sleepers, 2 do
    wake(sub(sleepers[i], 1, 26), sub(sleepers[i], 27))
  end
elseif ARGV[5] ~= '' then
  local record = call('HGET', META, 'w:' .. ARGV[5])
  if record then wake(sub(record, 43, 68), ARGV[5]) end
end
return 'ok'
