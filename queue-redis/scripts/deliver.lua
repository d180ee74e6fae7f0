-- Delivers to holds, each on its own.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, then for each delivery a head and a body. A head is the hold's id (16 bytes) and a
--       letter: r with the result that is the body, n without one, f for a failure; then until when that is kept (8) and
--       whom to blame (16), the body being the failure or nothing.
-- Returns  for each the letter of the state that the hold is in then, `-` if it is not stored.
-- Cost  3 commands, up to 6 for each delivery, about 5 for each edge followed. At most 100 deliveries, which the caller sees
--       to, and 100 edges.
local K = kit()
local FAILED, RESULT, KEEP_TOLD = 8, 16, 60000000
local ids, marks, answer, done = {}, {}, {}, 0
for i = 3, #ARGV, 2 do
  ids[#ids + 1] = sub(ARGV[i], 1, 16)
end
for i, mark in ipairs(#ids > 0 and call('HMGET', MARKS, unpack(ids)) or {}) do
  marks[ids[i]] = mark
end

-- Ends a hold. Answers the mark that it then has.
local function deliver(id, mark, head, body)
  local kind, flags, state, keep_until, culprit, word = sub(head, 17, 17), byte(mark, 2), 'c', now + KEEP_TOLD, ZERO16, ''
  if kind == 'f' then
    state, keep_until, culprit, word = 'x', math.max(open('>I8', head, 18), keep_until), sub(head, 26, 41), 'dependency'
  end
  if kind == 'r' then
    call('HSET', NOTES, 'r' .. id, body)
    flags = flags + RESULT
  elseif body ~= '' then
    call('HSET', NOTES, 'f' .. id, body)
    flags = flags + FAILED
  end
  if bit.band(byte(mark, 19), 32) ~= 0 then call('ZREM', EXPIRING, id) end
  mark = state .. string.char(flags) .. sub(mark, 3, 43) .. pack('>I8', now) .. culprit .. pack('>I8', keep_until) .. word
  call('HSET', MARKS, id, mark)
  K.close(id, mark, true)
  return mark
end

for i, id in ipairs(ids) do
  local mark = marks[id]
  if mark and byte(mark) == 119 and sub(mark, 77) == 'h' then
    mark, done = deliver(id, mark, ARGV[1 + i * 2], ARGV[2 + i * 2]), done + 1
    marks[id] = mark
  end
  local record = not mark and call('HGET', JOBS, id)
  answer[i] = mark and sub(mark, 1, 1) or record and sub(K.unmarked(id, record), 1, 1) or '-'
end
if call('EXISTS', FOLLOW) == 1 then
  S.sequence = tonumber(call('HGET', META, 'seq') or 0)
  S.edges(K).follow(MAX_UPKEEP)
  call('HSET', META, 'seq', S.sequence)
end
finish(K)
if (S.ready + S.posted > 0 or S.due or S.over) and call('EXISTS', SLEEPERS) == 1 then K.wake_for(S.ready + S.posted) end
return table.concat(answer)
