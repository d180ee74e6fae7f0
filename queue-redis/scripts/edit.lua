-- How a stored job gets another time, priority or envelope: from people, or from a new one whose unique key it holds. A
-- change has a `kind` of time and its `value`, a `priority`, an `envelope`; what it has not stays.
local function editors(K, Z)
  local D = {}
  local call, sub, byte, char, pack, open, band = redis.call, string.sub, string.byte, string.char, struct.pack,
    struct.unpack, bit.band
  local JOBS, MARKS, PARKED, STRANGERS, now = KEYS[2], KEYS[3], KEYS[7], KEYS[22], S.now
  local NONE8, ZERO8, ZERO16 = string.rep('\255', 8), string.rep('\0', 8), string.rep('\0', 16)

  -- A record with what was read of it, and perhaps changed since.
  local function write_record(id, record, job, envelope)
    local _, tail = K.taken_in(id, record)
    local flags = band(job.flags, 1 + 2 + 16 + 64 + 128) + (job.priority ~= 0 and 4 or 0) + (job.kind ~= 'n' and 8 or 0)
      + (job.limits and 32 or 0)
    local out = sub(record, 1, 6) .. char(flags) .. sub(record, 8, 8 + #job.task)
    if band(flags, 2) ~= 0 then out = out .. pack('>I2', job.needs) end
    if band(flags, 4) ~= 0 then out = out .. pack('>i4', job.priority) end
    if band(flags, 8) ~= 0 then out = out .. job.kind .. pack('>I8', job.value) end
    if job.tied then out = out .. sub(record, job.tied, job.untied) end
    if job.limits then out = out .. job.limits end
    if job.tags then
      out = out .. char(#job.tags)
      for _, tag in ipairs(job.tags) do
        out = out .. char(#tag) .. tag
      end
    end
    if job.keys then out = out .. pack('>I2', #job.keys) .. job.keys end
    return out .. (envelope or sub(record, job.envelope, -1 - tail)) .. sub(record, -tail), flags
  end

  -- Writes a job that goes by another record or mark now, and puts it in its line unless it waits. Answers its mark.
  function D.write(id, mark, record, job, envelope)
    local flags
    record, flags = write_record(id, record, job, envelope)
    mark = sub(mark, 1, 14) .. pack('>I4', job.priority + 2147483648) .. char(flags) .. sub(mark, 20)
    call('HSET', JOBS, id, record)
    call('HSET', MARKS, id, mark)
    local state, score, key, member = byte(mark), nil, nil, nil
    if state == 119 then return mark end
    if state ~= 114 then K.comes_due(open('>I8', mark, 28)) end
    key, score, member = Z.place(id, mark, record)
    call('ZADD', key, score, member)
    if key == PARKED and sub(mark, 76) == 'unknown_task' then call('ZADD', STRANGERS, open('>I8', mark, 44), id) end
    return mark
  end

  function D.set(job, change)
    if change.kind then job.kind, job.value = change.kind, change.value end
    job.priority = change.priority or job.priority
  end

  -- When it comes due by the time that it has now; nothing for at once.
  function D.due_of(job)
    return job.kind ~= 'n' and K.moment(job.kind, job.value)
  end

  -- The mark of a job that does not wait, as it is to start then.
  local function rescheduled(mark, due)
    local old, state, flags, seq, rest = sub(mark, 1, 1), nil, byte(mark, 2), sub(mark, 9, 14), sub(mark, 44)
    if not due or due <= now then
      state = 'r'
      if old ~= 'r' then seq, S.ready = K.next_sequence(), S.ready + 1 end
    else
      state = old == 't' and 't' or 's'
      flags, rest = K.without(flags, 32), ZERO8 .. ZERO16 .. NONE8
    end
    return state .. char(flags) .. sub(mark, 3, 8) .. seq .. sub(mark, 15, 27) .. (due and pack('>I8', due) or NONE8)
      .. sub(mark, 36, 43) .. rest
  end

  -- Changes a live job that does not run. Answers its state.
  function D.edit(id, mark, record, change)
    Z.leave(id, mark, record)
    local job, before, due = K.read(record), mark, nil
    D.set(job, change)
    if change.kind and byte(mark) == 119 then
      mark = sub(mark, 1, 43) .. pack('>I8', job.value) .. sub(mark, 52, 67) .. pack('>I8', byte(job.kind)) .. sub(mark, 76)
    elseif change.kind then
      due = D.due_of(job)
      mark = rescheduled(mark, due)
      due = due or now
    end
    mark = D.write(id, mark, record, job, change.envelope)
    if job.keys then S.limits(K).moved(id, before, mark, record) end
    if job.limits then K.expires(id, mark, change.kind and K.limits_from(job, due) or nil) end
    return sub(mark, 1, 1)
  end

  return D
end
