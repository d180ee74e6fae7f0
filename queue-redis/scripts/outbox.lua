-- Tells what stands in the outbox, once relays are done with whose parcels have been delivered.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, then the ids (16 bytes) of those relays.
-- Returns  1 if there is more, else 0; then for each parcel the relay, the job before it and the hold (16 bytes each) and the
--       hold's shard, and what that job hands on (handed).
-- Cost  about 8 commands, 7 for each relay that is done, 2 for each parcel and 1 more for each of a job that did not
--       complete. At most 100 relays, which the caller sees to, 100 parcels, and no further once they have 4 MiB.
local OUTBOX, MAX_PARCELS, MAX_BYTES, ASIDE = KEYS[30], 100, 4194304, 32
local K = kit()

-- The records of relays, what each of them says of its parcel, and the marks of the jobs before.
local function read(ids)
  local records, parcels, before = call('HMGET', JOBS, unpack(ids)), {}, {}
  for i, id in ipairs(ids) do
    local job = K.read(records[i])
    local from = job.to + 1 + byte(records[i], job.to)
    before[i] = job.parents[1]
    parcels[i] = {head = id .. before[i] .. sub(records[i], from, from + 15) .. sub(records[i], job.to + 1, from - 1), of = before[i]}
  end
  for i, mark in ipairs(call('HMGET', MARKS, unpack(before))) do
    parcels[i].mark = mark
  end
  return parcels
end

-- Completes relays, each kept as long as the failure of which it told.
local function complete(ids)
  local T, gone = S.edges(K), {}
  for i, parcel in ipairs(read(ids)) do
    -- A relay before it may have let go of this one.
    local id, mark, of, keep_until = ids[i], call('HGET', MARKS, ids[i]), parcel.mark, now
    if of and K.is_end(sub(of, 1, 1)) and byte(of) ~= 99 then keep_until = math.max(open('>I8', of, 68), now) end
    gone[i] = sub(mark, 9, 14) .. id
    mark = 'c' .. string.char(K.without(byte(mark, 2), ASIDE)) .. sub(mark, 3, 43) .. pack('>I8', now) .. ZERO16
      .. pack('>I8', keep_until)
    call('HSET', MARKS, id, mark)
    T.let_all_go(id, 2)
    K.close(id, mark, true)
  end
  call('ZREM', OUTBOX, unpack(gone))
end

local sent, ids, known = {unpack(ARGV, 3)}, {}, {}
for i, mark in ipairs(#sent > 0 and call('HMGET', MARKS, unpack(sent)) or {}) do
  if mark and byte(mark) == 114 and sub(mark, 76) == 'outbox' and not known[sent[i]] then
    ids[#ids + 1], known[sent[i]] = sent[i], true
  end
end
if #ids > 0 then
  complete(ids)
  finish(K)
end

local answer, bytes = {0}, 0
local standing = call('ZRANGE', OUTBOX, 0, MAX_PARCELS)
for i, member in ipairs(standing) do
  standing[i] = sub(member, 7)
end
for i, parcel in ipairs(#standing > 0 and read(standing) or {}) do
  if i > MAX_PARCELS or bytes >= MAX_BYTES then
    answer[1] = 1
    break
  end
  answer[#answer + 1] = parcel.head
  bytes = bytes + S.handed(K).add(answer, {parcel.of}, {parcel.mark})
end
return answer
