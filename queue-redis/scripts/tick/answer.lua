-- What is written of the schedules that change, who is woken, and what is due. Leans on what was admitted (enqueue/admit) and
-- is changed (call).

-- Writes them, and their places in the calendar. Answers whether one is stored then.
local function write_schedules()
  local call, set, removed, joins, leaves = redis.call, {}, {}, {}, {}
  for name in pairs(changed) do
    local old, new = before[name], after[name]
    local was_due, is_due = old and sub(old, 9, 16), new and sub(new, 9, 16)
    if new then
      set[#set + 1], set[#set + 2] = name, new
    elseif old then
      removed[#removed + 1], leaves[#leaves + 1] = name, 'n' .. name
    end
    if new and not old then joins[#joins + 1], joins[#joins + 2] = 0, 'n' .. name end
    if was_due ~= is_due then
      if was_due and was_due ~= NONE8 then leaves[#leaves + 1] = 'd' .. was_due .. name end
      if is_due and is_due ~= NONE8 then joins[#joins + 1], joins[#joins + 2] = 0, 'd' .. is_due .. name end
    end
  end
  if #set > 0 then call('HSET', SCHEDULES, unpack(set)) end
  if #removed > 0 then call('HDEL', SCHEDULES, unpack(removed)) end
  if #leaves > 0 then call('ZREM', CALENDAR, unpack(leaves)) end
  if #joins > 0 then call('ZADD', CALENDAR, unpack(joins)) end
  return #set > 0
end

local is_any = next(changed) and write_schedules()
local due = {}
if next(changed) or first and first <= now then
  due = names_between('(d', '(d' .. pack('>I8', now) .. '\255', MAX_UPKEEP + 1, 9)
end
local answer = {''}
local more = show(answer, due, MAX_UPKEEP)

local function note()
  local call, next_after = redis.call, next_tick()
  local now_first = answer[3] and open('>I8', answer[3], 9) or next_after
  call('HSET', META, 'seq', S.sequence, 'fence', fence)
  if now_first then
    call('HSET', META, 'ticks', string.format('%.0f', now_first))
  elseif first then
    call('HDEL', META, 'ticks')
  end
  -- A shard with schedules alone has taken no job in, and says so.
  is_first = not kept[4] and (is_first or is_any)
  if is_any and not kept[4] and #admitted == 0 then call('HSET', META, 'enqueued', 0) end
  finish()
  S.sooner = next_after and (not next_before or next_after < next_before) or #due > 0 and not (first and first <= now)
  local wakes = S.ready + S.posted > 0 or S.due or S.over or S.sooner
  if wakes and call('EXISTS', SLEEPERS) == 1 then kit().wake_for(S.ready + S.posted) end
end

if next(changed) then note() end
answer[1] = pack('>I8', now) .. (more and '1' or '0') .. (is_first and '1' or '0')
local told = {}
for i, change in ipairs(changes) do
  told[i] = change.applies and '+' .. table.concat(answers, '', change.first, change.first + change.jobs - 1) or '-'
end
for i = 2, #answer do
  told[#told + 1] = answer[i]
end
return {answer[1], unpack(told)}
