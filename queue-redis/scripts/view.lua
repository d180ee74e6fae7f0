-- How a job is shown: record, mark, end of its lease, whether its delivery is known, failure, result, history, progress,
-- limits, when what has started under the rate for which it is parked is paid for.

-- The fence up to which a worker's claims are known to have been received, and that up to which they count as never
-- delivered.
local holders = {}

local function received(worker)
  if not holders[worker] then
    local found = call('HMGET', META, 'w:' .. worker, 'n:' .. worker, 'g:' .. worker)
    local void = tonumber(found[3]) or -1
    holders[worker] = {found[1] and true, math.max(found[2] and open('>I8', found[2], 9) or 0, void), void}
  end
  return unpack(holders[worker])
end

local function delivery(mark)
  local known, before, void = received(sub(mark, 52, 67))
  local fence = open('>I8', mark, 44)
  if bit.band(byte(mark, 19), 1) == 0 and (not known or fence <= void) then return '0' end
  return (bit.band(byte(mark, 2), 1) ~= 0 or fence < before) and '1' or '0'
end

-- Adds the ten parts of a job, empty where there is none.
local function show(answer, id, record, mark)
  local flags, running = mark and byte(mark, 2) or 0, mark and byte(mark) == 108
  answer[#answer + 1] = id .. record
  answer[#answer + 1] = mark or ''
  answer[#answer + 1] = running and call('ZSCORE', LEASED, id) or ''
  answer[#answer + 1] = running and delivery(mark) or ''
  answer[#answer + 1] = bit.band(flags, 8) ~= 0 and call('HGET', NOTES, 'f' .. id) or ''
  answer[#answer + 1] = bit.band(flags, 16) ~= 0 and call('HGET', NOTES, 'r' .. id)
  answer[#answer + 1] = flags > 127 and call('HGET', NOTES, 'h' .. id)
  answer[#answer + 1] = flags > 127 and call('HGET', NOTES, 'p' .. id)
  answer[#answer + 1] = byte(record, 7) % 64 > 31 and call('HGET', NOTES, 'l' .. id)
  local is_throttled = byte(record, 7) > 127 and mark and byte(mark) == 114 and bit.band(flags, 32) ~= 0 and byte(mark, 76) == 114
  answer[#answer + 1] = is_throttled and call('ZSCORE', KEYS[27], sub(mark, 88))
end
