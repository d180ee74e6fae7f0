-- How ended jobs are removed, with all that is stored of them; whom they needed or kept must have been let go of.

-- Takes jobs out of the blocks that say in which order they came; an empty block is dropped.
local function leave_blocks(admissions)
  local left, numbers = {}, {}
  for _, n in ipairs(admissions) do
    local block = math.floor(n / BLOCK)
    if not left[block] then numbers[#numbers + 1] = block end
    left[block] = (left[block] or 0) + 1
  end
  for i, ids in ipairs(call('HMGET', BLOCKS, unpack(numbers))) do
    local block = numbers[i]
    local count = ids and byte(ids) - left[block] or 0
    if count > 0 then
      call('HSET', BLOCKS, block, string.char(count) .. sub(ids, 2))
    else
      call('HDEL', BLOCKS, block)
      call('ZREM', INDEX, block)
    end
  end
end

-- The names of a job's notes, by its mark.
local function add_notes(names, id, mark)
  local flags = byte(mark, 2)
  if bit.band(flags, 8) ~= 0 then names[#names + 1] = 'f' .. id end
  if bit.band(flags, 16) ~= 0 then names[#names + 1] = 'r' .. id end
  if flags > 127 then names[#names + 1], names[#names + 2] = 'h' .. id, 'p' .. id end
  if byte(mark, 19) % 64 > 31 then names[#names + 1] = 'l' .. id end
end

local function remove(doomed, marks)
  local admissions, notes, gone = {}, {}, {}
  local youngest = call('HGET', META, 'youngest') or ZERO16
  for i, mark in ipairs(marks or call('HMGET', MARKS, unpack(doomed))) do
    local id, state = doomed[i], sub(mark, 1, 1)
    admissions[i] = open('>I6', mark, 3)
    gone[state] = (gone[state] or 0) + 1
    add_notes(notes, id, mark)
    if open('>I6', id) > open('>I6', youngest) then youngest = id end
  end
  call('ZREM', TRACES, unpack(doomed))
  call('ZREM', KEPT, unpack(doomed))
  call('ZREM', DEAD, unpack(doomed))
  call('HDEL', JOBS, unpack(doomed))
  call('HDEL', MARKS, unpack(doomed))
  call('HDEL', INTEREST, unpack(doomed))
  if #notes > 0 then call('HDEL', NOTES, unpack(notes)) end
  leave_blocks(admissions)
  for state, count in pairs(gone) do
    call('HINCRBY', META, 'p:' .. state, count)
  end
  call('HSET', META, 'youngest', youngest)
end
