-- What the exchange, the acts and pruning share: how a job leaves its line and ends without a run, and what is remembered
-- of runs.
local function enders(K)
  local Z = {}
  local call, sub, byte, char, pack, open, band = redis.call, string.sub, string.byte, string.char, struct.pack,
    struct.unpack, bit.band
  local MARKS, NOTES, READY, SUSPECTS, PARKED, DELAYED, RETRYING, EXPIRING, STRANGERS = KEYS[3], KEYS[4], KEYS[5], KEYS[6],
    KEYS[7], KEYS[8], KEYS[9], KEYS[21], KEYS[22]
  local SUSPECT, ASIDE, LIMITS, now = 2, 32, 32, S.now
  local ZERO16 = string.rep('\0', 16)

  -- A job's member among those that are parked.
  function Z.park_member(id, mark, record)
    local task = sub(record, 9, 8 + byte(record, 8))
    local needs = band(byte(record, 7), 2) ~= 0 and sub(record, 9 + #task, 10 + #task) or '\0\1'
    return task .. '\0' .. needs .. (band(byte(mark, 2), SUSPECT) ~= 0 and '1' or '0')
      .. pack('>I4', 4294967295 - open('>I4', mark, 15)) .. sub(mark, 9, 14) .. id
  end

  -- Where a job stands that is ready, scheduled or retrying: the key, its score and its member.
  function Z.place(id, mark, record)
    local state, flags = byte(mark, 1, 2)
    if state == 115 then return DELAYED, open('>I8', mark, 28), K.due_member(id, mark) end
    if state == 116 then return RETRYING, open('>I8', mark, 28), K.due_member(id, mark) end
    if band(flags, ASIDE) ~= 0 then
      if byte(mark, 19) > 127 then
        local line, member = S.limits(K).place(id, mark)
        if line then return line, 0, member end
      end
      return PARKED, 0, Z.park_member(id, mark, record)
    end
    return band(flags, SUSPECT) ~= 0 and SUSPECTS or READY, 0 - K.priority_of(mark), sub(mark, 9, 14) .. id
  end

  -- Takes a live job that does not run out of its line. A waiting one is in none.
  function Z.leave(id, mark, record)
    if byte(mark) ~= 119 and not (byte(mark, 19) > 127 and S.limits(K).unpark(id, mark)) then
      local key, _, member = Z.place(id, mark, record)
      call('ZREM', key, member)
      if key == PARKED and sub(mark, 76) == 'unknown_task' then call('ZREM', STRANGERS, id) end
    end
    if band(byte(mark, 19), LIMITS) ~= 0 then call('ZREM', EXPIRING, id) end
  end

  -- Ends a job that did not run and has left its line; `flag` is what it has from now on. See `K.close`.
  function Z.finish(id, mark, state, word, keep_until, flag, let_go)
    local flags, before = K.with(K.without(byte(mark, 2), ASIDE), flag), mark
    mark = state .. char(flags) .. sub(mark, 3, 43) .. pack('>I8', now) .. ZERO16
      .. pack('>I8', math.min(keep_until, 9007199254740992)) .. word
    call('HSET', MARKS, id, mark)
    S.upkept[#S.upkept + 1] = state .. id
    if byte(mark, 19) > 127 then S.limits(K).moved(id, before, mark) end
    K.close(id, mark, let_go)
    return mark
  end

  -- A failure with a message of at most 1,024 bytes, cut at a character.
  local function cut(failure)
    if #failure < 1024 or byte(failure) == 0 then return failure end
    local at = 2 + byte(failure)
    for _ = 1, 2 do
      local length = open('>I2', failure, at)
      at = at + 2 + (length == 65535 and 0 or length)
    end
    if #failure - at < 1024 then return failure end
    local last = at + 1021
    while last > at and math.floor(byte(failure, last) / 64) == 2 do
      last = last - 1
    end
    return sub(failure, 1, last - 1) .. '\226\128\166'
  end

  -- The last `most` runs of a history: when the first run since it was taken in or revived started (8; 255 if none has),
  -- how many runs follow (4), and of each the length of the rest (4), worker, start, end, length of the word (1), word,
  -- failure.
  function Z.shorten(history, most)
    local count, from = open('>I4', history, 9), 13
    while count > most do
      from, count = from + 4 + open('>I4', history, from), count - 1
    end
    return sub(history, 1, 8) .. pack('>I4', count) .. sub(history, from)
  end

  -- The history of a job with its last run, which ended so; the last `most` runs of it, or all.
  function Z.remembered(id, mark, ended, word, failure, most)
    local old = band(byte(mark, 2), 128) ~= 0 and call('HGET', NOTES, 'h' .. id) or sub(mark, 36, 43) .. '\0\0\0\0'
    local entry = sub(mark, 52, 67) .. sub(mark, 36, 43) .. ended .. char(#word) .. word .. cut(failure)
    local first = sub(old, 1, 8) ~= NONE8 and sub(old, 1, 8) or sub(mark, 36, 43)
    local all = first .. pack('>I4', open('>I4', old, 9) + 1) .. sub(old, 13) .. pack('>I4', #entry) .. entry
    return most and Z.shorten(all, most) or all
  end

  return Z
end
