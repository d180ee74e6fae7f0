-- Renews leases, each on its own.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 worker (16 bytes), then for each lease id and fence (16 + 8 bytes).
-- Returns  one `1` or `0` for each lease; `unknown` if the worker is not registered.
-- Cost  5 commands, and one member of an HMGET and a ZADD for each lease, of an HSET at its first renewal. At most 1,000.
local worker = ARGV[3]
local kept = call('HMGET', META, 'seen', 'spare', 'silent', 'back', 'w:' .. worker)
if not kept[5] then return 'unknown' end
local terms = terms_of(kept[5])
note(terms, kept[1], kept[2], kept[3], kept[4])
call('HSET', META, 'seen', now)
call('ZADD', IDLE, now, 'w:' .. worker)
if #ARGV == 3 then return '' end

local ids, held, renewed, marks = {}, {}, {}, {}
for i = 4, #ARGV do
  ids[i - 3] = sub(ARGV[i], 1, 16)
end
for i, mark in ipairs(call('HMGET', MARKS, unpack(ids))) do
  held[i] = '0'
  if mark and byte(mark) == 108 and sub(mark, 44, 67) == sub(ARGV[3 + i], 17) .. worker then
    held[i] = '1'
    renewed[#renewed + 1], renewed[#renewed + 2] = now + terms.length, ids[i]
    if bit.band(byte(mark, 2), 1) == 0 then
      marks[#marks + 1], marks[#marks + 2] = ids[i], 'l' .. string.char(byte(mark, 2) + 1) .. sub(mark, 3)
    end
  end
end
if #renewed > 0 then call('ZADD', LEASED, 'XX', unpack(renewed)) end
if #marks > 0 then call('HSET', MARKS, unpack(marks)) end
return table.concat(held)
