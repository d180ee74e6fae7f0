-- The claim. Mostly there is one line, of ready jobs, and the others are never looked at. Leans on the lines (lines) and on
-- `claim_from_all` (merge); writes what was taken with `write` (endings).

-- How many more may start, and how many it would claim.
local room, wanted = rules and rules.room(paid), math.min(want, 256)
if want > 0 and not (rules and rules.paused) then
  want = math.min(want, room or 256, 256)
  local ready_line = line(heads(READY), false, false)
  if call('EXISTS', SUSPECTS, PARKED) > 0 then
    claim_from_all(ready_line)
  else
    while #C.ids < want and C.looked < MAX_HEADS and C.bytes < MAX_BYTES and not (back and back.changed)
      and has_head(ready_line) do
      advance(ready_line)
    end
    if back and back.changed then
      claim_from_all(ready_line)
    else
      more = more or #C.ids < want and has_head(ready_line)
    end
  end
  if ready_line.popped > 0 then call('ZREMRANGEBYRANK', READY, 0, ready_line.popped - 1) end
  if back then back.write() end
  local leases = {}
  for i, id in ipairs(C.ids) do
    leases[i * 2 - 1], leases[i * 2] = lease_end, id
  end
  if #leases > 0 then call('ZADD', LEASED, unpack(leases)) end
  if #C.known > 0 then call('ZREM', STRANGERS, unpack(C.known)) end
  if #C.timed > 0 then call('ZREM', EXPIRING, unpack(C.timed)) end
  if #C.stale > 0 then call('HDEL', NOTES, unpack(C.stale)) end
  write()
end
S.put = nil
if rules then
  rules.write()
  room = room - #C.ids
  if rules.rate and #C.ids > 0 then
    paid = rules.pay(paid, #C.ids)
    call('HSET', META, 'paid', string.format('%.0f', paid))
  end
end
if S.limiter then S.limiter.flush() end
