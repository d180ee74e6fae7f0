-- Tells what stands in the outbox, once relays are done with whose parcels have been delivered. One whose job runs again is
-- not told of: it waits for that once more.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, then of each of those relays its member in the outbox (sequence 6, id 16).
-- Returns  1 if there is more, else 0; then for each parcel that member, the job before the relay and the hold (16 bytes each)
--       and the hold's shard, and what that job hands on (handed).
-- Cost  about 8 commands, 7 for each relay that is done, 2 for each parcel and 1 more for each of a job that did not
--       complete, 6 for each relay that is recalled. At most 100 relays, which the caller sees to, 100 parcels, and no further
--       once they have 4 MiB.
local OUTBOX, MAX_PARCELS, MAX_BYTES, KEEP_TOLD, ASIDE = KEYS[30], 100, 4194304, 60000000, 32
local K = kit()

-- The relays of members, what each of them says of its parcel, and the marks of the jobs before.
local function read(members)
  local ids, parcels, before = {}, {}, {}
  for i, member in ipairs(members) do
    ids[i] = sub(member, 7)
  end
  for i, record in ipairs(call('HMGET', JOBS, unpack(ids))) do
    local job = K.read(record)
    local from = job.to + 1 + byte(record, job.to)
    before[i] = job.parents[1]
    local head = members[i] .. before[i] .. sub(record, from, from + 15) .. sub(record, job.to + 1, from - 1)
    parcels[i] = {id = ids[i], job = job, head = head, of = before[i]}
  end
  for i, mark in ipairs(call('HMGET', MARKS, unpack(before))) do
    parcels[i].mark = mark
  end
  return parcels
end

-- Completes relays, each kept for a while and as long as the failure of which it told.
local function complete(members)
  local T = S.edges(K)
  for _, parcel in ipairs(read(members)) do
    -- A relay before it may have let go of this one.
    local id, mark, of, keep_until = parcel.id, call('HGET', MARKS, parcel.id), parcel.mark, now + KEEP_TOLD
    if of and K.is_end(sub(of, 1, 1)) and byte(of) ~= 99 then keep_until = math.max(open('>I8', of, 68), keep_until) end
    mark = 'c' .. string.char(K.without(byte(mark, 2), ASIDE)) .. sub(mark, 3, 43) .. pack('>I8', now) .. ZERO16
      .. pack('>I8', keep_until)
    call('HSET', MARKS, id, mark)
    T.let_all_go(id, 2)
    K.close(id, mark, true)
  end
  call('ZREM', OUTBOX, unpack(members))
end

-- The mark of the job before a relay, if that has not ended any more.
local function again(parcel)
  if parcel.mark then return not K.is_end(sub(parcel.mark, 1, 1)) and parcel.mark end
  local record = call('HGET', JOBS, parcel.of)
  return record and K.unmarked(parcel.of, record)
end

-- Lets a relay wait once more for a job with this mark. Only a dead letter runs again before its relays have told of it, and
-- no edge led from that any more.
local function recall(member, parcel, of)
  local T, readers, open_edges = S.edges(K), {}, {}
  local id, parents, marks = parcel.id, {parcel.of}, {[parcel.of] = of}
  local mark = call('HGET', MARKS, id)
  call('HSET', MARKS, id, 'w' .. string.char(K.without(byte(mark, 2), ASIDE)) .. sub(mark, 3, 8) .. rep('\0', 6)
    .. sub(mark, 15, 27) .. NONE8 .. sub(mark, 36, 43) .. T.waiting(parcel.job))
  T.tie(id, parents, marks, 'w', nil, readers, open_edges)
  for parent, held in pairs(T.hold(parents, marks)) do
    call('HSET', MARKS, parent, held)
  end
  call('ZADD', EDGES, unpack(readers))
  call('ZADD', EDGES, unpack(open_edges))
  call('ZREM', OUTBOX, member)
end

local sent, ids, arrived, known = {unpack(ARGV, 3)}, {}, {}, {}
for i, member in ipairs(sent) do
  ids[i] = sub(member, 7)
end
for i, mark in ipairs(#sent > 0 and call('HMGET', MARKS, unpack(ids)) or {}) do
  local stands = mark and byte(mark) == 114 and sub(mark, 76) == 'outbox' and sub(mark, 9, 14) .. ids[i] == sent[i]
  if stands and not known[sent[i]] then
    arrived[#arrived + 1], known[sent[i]] = sent[i], true
  end
end
if #arrived > 0 then
  complete(arrived)
  finish(K)
end

local answer, bytes = {0}, 0
local standing = call('ZRANGE', OUTBOX, 0, MAX_PARCELS)
for i, parcel in ipairs(#standing > 0 and read(standing) or {}) do
  if i > MAX_PARCELS or bytes >= MAX_BYTES then
    answer[1] = 1
    break
  end
  local of = again(parcel)
  if of then
    recall(standing[i], parcel, of)
  else
    answer[#answer + 1] = parcel.head
    bytes = bytes + S.handed(K).add(answer, {parcel.of}, {parcel.mark})
  end
end
return answer
