-- Schedules, for the scripts that change and show them. `schedules` has of each its version (8), when it is due (8) and its
-- data. `calendar` is read by bytes: `d`, when it is due (8) and name of each that is due at some moment, `n` and name of each.
local SCHEDULES, CALENDAR = KEYS[31], KEYS[32]

-- Adds name and record of those stored to an answer: up to `most`, and no further once their data holds 4 MiB; or all of them.
-- Answers whether more are left.
local function show(answer, names, most)
  local call, MAX_BYTES, shown, bytes = redis.call, 4194304, 0, 0
  for at = 1, #names, 16 do
    for i, record in ipairs(call('HMGET', SCHEDULES, unpack(names, at, math.min(at + 15, #names)))) do
      if record then
        if most and (shown == most or bytes >= MAX_BYTES) then return true end
        answer[#answer + 1], answer[#answer + 2] = names[at + i - 1], record
        shown, bytes = shown + 1, bytes + #record - 16
      end
    end
  end
  return false
end

-- The first members between two places of the calendar, without what stands before their names.
local function names_between(from, to, most, prefix)
  local names = redis.call('ZRANGEBYLEX', CALENDAR, from, to, 'LIMIT', 0, most)
  for i, member in ipairs(names) do
    names[i] = string.sub(member, prefix + 1)
  end
  return names
end
