-- What jobs hand on to one that waited for them, for the scripts that tell it.
--
-- First comes one text with a letter for each of them: R completed with a result, N without one, G a gather that has
-- completed, F ended otherwise, - not stored, or the letter of the state of one that has not ended. Then for each R its
-- result, and for each F its mark, its task and its failure or nil.
local function carrier(K)
  local H = {}
  local call, sub, byte, band = redis.call, string.sub, string.byte, bit.band
  local JOBS, MARKS, NOTES = KEYS[2], KEYS[3], KEYS[4]

  -- The letter of one that has not ended. The marks of those that this call has claimed are written with others later.
  local function open_letter(id, mark)
    for _, claimed in ipairs(S.claimed or {}) do
      if claimed == id then return 'l' end
    end
    if mark then return sub(mark, 1, 1) end
    local record = call('HGET', JOBS, id)
    return record and sub(K.unmarked(id, record), 1, 1) or '-'
  end

  -- The letter of one, by its mark.
  local function letter(id, mark)
    local state = mark and sub(mark, 1, 1)
    if not mark or not K.is_end(state) then return open_letter(id, mark) end
    if state ~= 'c' then return 'F' end
    return sub(mark, 76) == 'gathered' and 'G' or band(byte(mark, 2), 16) ~= 0 and 'R' or 'N'
  end

  -- Adds what these hand on; their marks may be told. Answers how many bytes of results and failures that is.
  function H.add(answer, ids, marks)
    local letters, names, bytes, at = {}, {}, 0, 0
    marks = marks or #ids > 0 and call('HMGET', MARKS, unpack(ids)) or {}
    for i, id in ipairs(ids) do
      letters[i] = letter(id, marks[i])
      local is_failed = letters[i] == 'F' and band(byte(marks[i], 2), 8) ~= 0
      if letters[i] == 'R' or is_failed then names[#names + 1] = (is_failed and 'f' or 'r') .. id end
    end
    answer[#answer + 1] = table.concat(letters)
    local notes = #names > 0 and call('HMGET', NOTES, unpack(names)) or {}
    for i, id in ipairs(ids) do
      local note = false
      if names[at + 1] and sub(names[at + 1], 2) == id then
        at = at + 1
        note = notes[at]
      end
      bytes = bytes + #(note or '')
      if letters[i] == 'F' then
        local record = call('HGET', JOBS, id)
        answer[#answer + 1] = marks[i]
        answer[#answer + 1] = sub(record, 9, 8 + byte(record, 8))
      end
      if letters[i] == 'F' or letters[i] == 'R' then answer[#answer + 1] = note end
    end
    return bytes
  end

  return H
end

-- The one of this call, made when it is first asked for.
function S.handed(K)
  S.carrier = S.carrier or carrier(K)
  return S.carrier
end
