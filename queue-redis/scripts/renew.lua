-- Renews leases, each on its own.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 worker (16 bytes), then for each lease id and fence (16 + 8 bytes), and behind
--       them how far its run got, where it told that: done 8, total 8, message.
-- Returns  for each lease `1`, `s` if its run is asked to stop, or `0` if it is lost; `unknown` if the worker is not
--       registered.
-- Cost  5 commands, and one member of an HMGET and a ZADD for each lease, of an HSET at its first renewal; 2 more for all that
--       tell how far they got, and 1 for each process that listens. At most 1,000.
local worker = ARGV[3]
local kept = call('HMGET', META, 'seen', 'spare', 'silent', 'back', 'w:' .. worker)
if not kept[5] then return 'unknown' end
local terms = terms_of(kept[5])
note(terms, kept[1], kept[2], kept[3], kept[4])
call('HSET', META, 'seen', now)
call('ZADD', IDLE, now, 'w:' .. worker)
if #ARGV == 3 then return '' end

local ids, held, renewed, marks, notes, told = {}, {}, {}, {}, {}, {}
for i = 4, #ARGV do
  ids[i - 3] = sub(ARGV[i], 1, 16)
end
for i, mark in ipairs(call('HMGET', MARKS, unpack(ids))) do
  held[i] = '0'
  if mark and byte(mark) == 108 and sub(mark, 44, 67) == sub(ARGV[3 + i], 17, 24) .. worker then
    local flags = byte(mark, 2)
    held[i] = bit.band(flags, 64) == 0 and '1' or 's'
    renewed[#renewed + 1], renewed[#renewed + 2] = now + terms.length, ids[i]
    if #ARGV[3 + i] > 24 then
      notes[#notes + 1], notes[#notes + 2], told[#told + 1] = 'p' .. ids[i], sub(ARGV[3 + i], 25), ids[i]
      flags = bit.bor(flags, 128)
    end
    flags = bit.bor(flags, 1)
    if flags ~= byte(mark, 2) then
      marks[#marks + 1], marks[#marks + 2] = ids[i], 'l' .. string.char(flags) .. sub(mark, 3)
    end
  end
end
if #renewed > 0 then call('ZADD', LEASED, 'XX', unpack(renewed)) end
if #marks > 0 then call('HSET', MARKS, unpack(marks)) end
if #notes > 0 then
  call('HSET', NOTES, unpack(notes))
  for i, ears in ipairs(call('HMGET', INTEREST, unpack(told))) do
    for at = 1, ears and #ears or 0, 26 do
      call(ARGV[2], sub(META, 1, -5) .. 'ear:' .. sub(ears, at, at + 25), 'p' .. told[i])
    end
  end
end
return table.concat(held)
