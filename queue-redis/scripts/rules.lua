-- What people say of a shard, as `META` has it in `rules`: of each the length of the rest (2), a letter, since when (8) and
-- until when (8), and what it is about: q the queue is paused; t a task is, whose name follows; w a worker is, which follows;
-- r what is revoked: flags (1 has a job, 2 a task, 4 a tag, 8 ends with the first job that it cancels, 16 has a key), the job,
-- the task, the tag and the key, these behind their lengths (1); n how many may run at once (4); v how fast they may start:
-- what one start pays for (8) and the burst (4). Letters that are not known are left as they are.

-- What holds now, for this worker: whether nothing is claimed (`paused`), as the queue is or the `worker`, which tasks are
-- paused, when the first pause `ends`, and whether one `ended` that nobody has dropped yet; how many `slots` there are, and what the `rate` is.
local function rules_of(text, worker)
  local open, sub, byte, now = struct.unpack, string.sub, string.byte, S.now
  local R, entries, revoked, gone, at = {tasks = {}}, {}, {}, false, 1

  while at < #text do
    local length, kind, _, till = open('>I2c1I8I8', text, at)
    local body = sub(text, at + 19, at + 1 + length)
    local concerns = kind == 'q' or kind == 't' or kind == 'w' and body == worker
    if now >= till then
      gone, R.ended = true, R.ended or concerns
    else
      entries[#entries + 1] = sub(text, at, at + 1 + length)
      if concerns and till <= 9007199254740992 then R.ends = math.min(R.ends or till, till) end
      if kind == 'q' then
        R.queue = true
      elseif kind == 't' then
        R.tasks[body] = true
      elseif kind == 'w' then
        R.worker = R.worker or body == worker
      elseif kind == 'r' then
        revoked[#revoked + 1] = {place = #entries, body = body}
      elseif kind == 'n' then
        R.slots = open('>I4', body)
      elseif kind == 'v' then
        R.rate = {every = open('>I8', body), burst = open('>I4', body, 9)}
      end
    end
    at = at + 2 + length
  end
  R.paused = R.queue or R.worker

  local function is_tagged(K, record, tag)
    for _, one in ipairs(K.read(record).tags or {}) do
      if one == tag then return true end
    end
    return false
  end

  local function fits(K, body, id, record)
    local flags, from = byte(body), 2
    if bit.band(flags, 1) ~= 0 then
      if sub(body, 2, 17) ~= id then return false end
      from = 18
    end
    if bit.band(flags, 2) ~= 0 then
      if sub(body, from + 1, from + byte(body, from)) ~= sub(record, 9, 8 + byte(record, 8)) then return false end
      from = from + 1 + byte(body, from)
    end
    if bit.band(flags, 4) ~= 0 then
      if not is_tagged(K, record, sub(body, from + 1, from + byte(body, from))) then return false end
      from = from + 1 + byte(body, from)
    end
    if bit.band(flags, 16) == 0 then return true end
    return byte(record, 7) > 127 and S.limits(K).has_key(record, sub(body, from + 1, from + byte(body, from)))
  end

  -- The first rule that cancels a job which comes to run.
  function R.fit(K, id, record)
    for i, one in ipairs(revoked) do
      if fits(K, one.body, id, record) then return i end
    end
  end

  -- A rule has cancelled a job.
  function R.use(i)
    if bit.band(byte(revoked[i].body), 8) == 0 then return end
    entries[revoked[i].place], gone = '', true
    table.remove(revoked, i)
  end

  -- How many more jobs the slots and the rate of the whole shard let start, where its last start is paid for at `paid`.
  function R.room(paid)
    local room = math.huge
    if R.slots then room = math.max(R.slots - redis.call('ZCARD', KEYS[10]), 0) end
    if R.rate then
      local left = math.min(now + R.rate.every * R.rate.burst, 9007199254740992) - math.max(paid, now)
      room = math.min(room, math.max(math.floor(left / R.rate.every), 0))
    end
    return room
  end

  -- When everything is paid for once so many more have started.
  function R.pay(paid, count)
    return math.min(math.max(paid, now) + R.rate.every * count, 9007199254740992)
  end

  -- When the rate of the whole shard lets the next one start, if that is to come and one is there.
  function R.opens(paid)
    if not R.rate then return end
    local at = math.min(paid + R.rate.every, 9007199254740992) - R.rate.every * R.rate.burst
    return at > now and redis.call('EXISTS', KEYS[5], KEYS[6], KEYS[7]) > 0 and at
  end

  -- Writes what is left where something has ended.
  function R.write()
    if not gone then return end
    local left = table.concat(entries)
    if left == '' then
      redis.call('HDEL', KEYS[1], 'rules')
    else
      redis.call('HSET', KEYS[1], 'rules', left)
    end
  end

  return R
end
