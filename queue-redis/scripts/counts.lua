-- Counts what the shard holds.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 how many priorities to look at for the age of the oldest job.
-- Returns  jobs ready, parked, scheduled, retrying, running, due, ever taken in, and ended as completed, cancelled, expired
--       and dead; then how many of those four were pruned; and for how many microseconds the oldest job has been ready or
--       due, -1 without any: of those ready the first of each priority is looked at, ARGV 3 priorities at most.
-- Cost  16 commands, and three for each priority.
local K = kit()

-- Since when the first job of each priority has been ready.
local function oldest(line, since)
  local after = '-inf'
  for _ = 1, tonumber(ARGV[3]) do
    local first = call('ZRANGEBYSCORE', line, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not first[1] then break end
    local id = sub(first[1], 7)
    local mark = call('HGET', MARKS, id)
    local at = K.taken_in(id, call('HGET', JOBS, id))
    if mark and sub(mark, 28, 35) ~= NONE8 then at = math.max(at, open('>I8', mark, 28)) end
    since, after = math.min(since or at, at), '(' .. first[2]
  end
  return since
end

local kept = call('HMGET', META, 'enqueued', 'e:c', 'e:x', 'e:e', 'e:d', 'p:c', 'p:x', 'p:e', 'p:d')
local parked = call('ZCARD', PARKED) + call('ZCARD', KEYS[24]) + call('ZCARD', KEYS[25]) + call('ZCARD', KEYS[30])
local answer = {call('ZCARD', READY) + call('ZCARD', SUSPECTS) + parked, parked, call('ZCARD', DELAYED),
  call('ZCARD', RETRYING), call('ZCARD', LEASED),
  call('ZCOUNT', DELAYED, '-inf', now) + call('ZCOUNT', RETRYING, '-inf', now)}
for i = 1, 9 do
  answer[6 + i] = tonumber(kept[i]) or 0
end
local due = K.next_due()
local since = oldest(SUSPECTS, oldest(READY, due and due <= now and due or nil))
answer[16] = since and math.max(now - since, 0) or -1
return answer
