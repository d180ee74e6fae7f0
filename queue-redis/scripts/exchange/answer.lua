-- Whether the worker sleeps, who is woken, and what is remembered and answered. Leans on what the claim left (take, claim),
-- and on `look_again` and `head_of` (call).

-- 7. Sleep, and wake others for what is left.
-- A worker that is paused does not sleep in the line of those that a job wakes, and is told by whoever resumes it.
local sleeps, look = #C.ids < wanted and ear ~= '' and not more and not (rules and rules.worker), 0
if not more then
  S.expiring = call('EXISTS', FOLLOW, EXPIRING) > 0
  more = S.expiring and call('EXISTS', FOLLOW) == 1
end
if not more then
  if S.due then due = math.min(due or S.due, S.due) end
  if ticks and not is_ticking then due = math.min(due or ticks, ticks) end
  -- Who sleeps behind eight others comes a second after the due time, in case those are all dead, and not with them.
  if due and due > now and sleeps and call('ZCARD', SLEEPERS) >= 8 then due = due + 1000000 end
  look = look_again(due)
end

-- Wakes sleepers: for what is ready or due sooner, and for what was parked those that know the task. For suspects only
-- when one of them moved, and then many: who sleeps may not be allowed another. Woken by whoever leaves one, workers that
-- are not allowed any would wake each other for ever.
local function wake_others()
  local call, sub, SLEEPERS = redis.call, string.sub, KEYS[19]
  K = K or kit()
  local left = call('ZCARD', KEYS[5]) + (S.suspects and call('EXISTS', KEYS[6]) * 8 or 0)
  K.wake_for(room and math.min(left, room) or left)
  for _, sleeper in ipairs(next(C.strange) and call('ZRANGE', SLEEPERS, 0, 255) or {}) do
    local record = call('HGET', KEYS[1], 'w:' .. sub(sleeper, 27))
    for task in pairs(record and C.strange or {}) do
      if string.find(record, '\0' .. task .. '\0', TASKS, true) then
        call('ZREM', SLEEPERS, sleeper)
        call(ARGV[2], sub(KEYS[1], 1, -5) .. 'ear:' .. sub(sleeper, 1, 26), 'w' .. sub(sleeper, 27))
        break
      end
    end
  end
end

-- Nobody is woken for what is paused: those would wake each other for ever.
if not (rules and rules.queue) and call('EXISTS', SLEEPERS) == 1 then wake_others() end
if sleeps then call('ZADD', SLEEPERS, now, ear .. worker) end

local hears_by = sleeps and ear or wanted == 0 and asleep
local memory = pack('>I8I8', number, fence) .. (hears_by and '\1' .. hears_by or rep('\0', 27)) .. pack('>I2', #settled)
  .. answer[3] .. table.concat(C.ids)
call('HSET', META, 'seq', S.sequence, 'seen', now, 'n:' .. worker, memory)
if #C.ids > 0 then call('HSET', META, 'fence', fence) end
call('ZADD', IDLE, now, 'w:' .. worker)
finish(K)
-- Whether something stands in the outbox: nothing came there unless it stood there before, or edges were followed.
local posted = (stirs or S.posted > 0) and call('EXISTS', KEYS[30]) == 1
answer[2] = head_of(fence, look, C.suspects_left, posted)
answer[5] = table.concat(S.upkept)
for task in pairs(C.strange) do
  answer[4] = answer[4] .. task .. '\0'
end
return answer
