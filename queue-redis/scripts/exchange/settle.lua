-- The settlements of the call, each answered with `1`, `x` or `0`. Leans on what is gathered and on `endings` (endings).

-- 2. Settle.
local settled = {}
if #ARGV > 7 then
  local ids, leases, marks, freed, traces, told, count = {}, {}, W.marks, W.freed, W.traces, S.told, 0
  for i = 8, #ARGV, 2 do
    ids[#ids + 1] = sub(ARGV[i], 1, 16)
  end
  local found = call('HMGET', MARKS, unpack(ids))
  for i, id in ipairs(ids) do
    local head, mark = ARGV[6 + i * 2], found[i]
    -- Mostly few claims are settled at once, and share their fences.
    local fence = sub(head, 17, 24)
    local lease = leases[fence] or fence .. worker
    leases[fence] = lease
    if not mark or sub(mark, 44, 67) ~= lease or byte(mark) ~= 108 then
      settled[i] = '0'
    else
      local of = byte(mark, 19)
      settled[i] = '1'
      freed[#freed + 1] = id
      -- What most come to, before all else: completed without a result, nobody suspects it and nothing hangs on it.
      if byte(head, 29) == 99 and byte(mark, 2) < 2 and of % 32 < 16 then
        local duration = sub(head, 31)
        local keep = keeps[duration] or kept_for(duration)
        marks[#marks + 1] = id
        marks[#marks + 1] = 'c\0' .. sub(mark, 3, 19) .. sub(head, 25, 28) .. sub(mark, 24, 43) .. keep[2]
        traces[#traces + 1] = keep[1]
        traces[#traces + 1] = id
        told[#told + 1] = id
        count = count + 1
      else
        E = E or endings()
        if of > 127 then E.close(id, head, ARGV[7 + i * 2]) end
        if E.settle(id, mark, head, ARGV[7 + i * 2]) then settled[i] = 'x' end
      end
      if of > 127 then
        K = K or kit()
        S.limits(K).moved(id, mark, marks[#marks])
      end
    end
  end
  if count > 0 then S.ends.c = (S.ends.c or 0) + count end
  write()
end
