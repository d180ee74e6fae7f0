-- What every script of a shard shares: its keys, its clock, the form of a mark, and the moves that more than one makes.
--
-- Bytes are compared for equality only, never by `<`: the server's locale would decide. Numbers are big-endian, times
-- whole microseconds, NONE8 stands for no time. What can be refused is refused before anything is written.
--
-- Lua makes every function anew each time a script runs, and looks for each outer local that it uses. So what most calls
-- do stands in the open, and what few need is in a kit, a function that makes functions when it is called.
local META, JOBS, MARKS, NOTES, READY, SUSPECTS, PARKED, DELAYED, RETRYING, LEASED, DEAD, TRACES, KEPT, EDGES, FOLLOW,
  BLOCKS, INDEX, IDLE, SLEEPERS, INTEREST, EXPIRING, STRANGERS = unpack(KEYS)
local call, sub, byte, rep, pack, open = redis.call, string.sub, string.byte, string.rep, struct.pack, struct.unpack
local NONE8, ZERO8, ZERO16 = rep('\255', 8), rep('\0', 8), rep('\0', 16)
local MAX_TIME, MAX_UPKEEP, BLOCK = 9007199254740992, 100, 63

-- The server's clock; ARGV[1] is 0, or the time that a test wants it to be.
local now = tonumber(ARGV[1])
if now == 0 then
  local clock = call('TIME')
  now = clock[1] * 1000000 + clock[2]
end

-- What this call makes of the shard: the last sequence given, how many jobs became ready, the earliest time at which one
-- became due (`due`) and what that was before (`due_before`), ends by state, the ids of all that ended, what became of those that
-- it took back or that ended without a run of theirs being settled (state's letter and id), whether a suspect became ready or was claimed (`suspects`), whether a schedule is
-- due before sleepers know (`sooner`), and 1 once something came to stand in the outbox (`posted`).
local S = {now = now, sequence = 0, ready = 0, posted = 0, ends = {}, told = {}, upkept = {}}

-- A mark is what has changed of a job since it was taken in. One that is ready or scheduled as it was taken in has none.
--   1 state, 2 flags, 3-8 admission, 9-14 sequence, 15-18 priority, 19 the record's flags, 20-23 attempts, 24-25 crashes,
--   26-27 lapses, 28-35 due, 36-43 started, 44-51 fence or end, 52-67 worker or culprit, 68-75 end of its keep, 76- word
-- While it waits, 44-51 and 68-75 hold its time's value and kind, of a gather 44-51 for how long it is kept, and the word is
-- what it waits for (c completions, e ends, f a failure) and what it is (t a task's, g gather, h hold, y relay), nothing for
-- `ct`; while it is parked, 44-51 hold since when; while it runs and was asked to stop, 68-75 hold for how long it is kept
-- then. The word `dependency` tells a culprit from a worker, `gathered` a completed gather from all else that completed.
-- Flags: 1 delivered, 2 suspect, 4 held (kept for another), 8 has a failure, 16 has a result, 32 parked, 64 asked to
-- stop, 128 has notes of its runs: a history, progress, or both.
local function kit()
  local K = {}
  local META, JOBS, MARKS, NOTES, READY, SUSPECTS, PARKED, DELAYED, RETRYING, LEASED, DEAD, TRACES, KEPT, EDGES, FOLLOW,
    BLOCKS, INDEX, IDLE, SLEEPERS, INTEREST, EXPIRING, STRANGERS = unpack(KEYS)
  local call, sub, byte, char, rep = redis.call, string.sub, string.byte, string.char, string.rep
  local pack, open, band = struct.pack, struct.unpack, bit.band
  local NONE8, ZERO8, ZERO16 = rep('\255', 8), rep('\0', 8), rep('\0', 16)
  local MAX_TIME, HELD, RESULT = 9007199254740992, 4, 16
  local now = S.now
  local SPEAK, CHANNEL = ARGV[2], sub(META, 1, -5) .. 'ear:'

  -- Whether the first id is less than the other.
  function K.before(id, other)
    for at = 1, 13, 4 do
      local mine, yours = open('>I4', id, at), open('>I4', other, at)
      if mine ~= yours then return mine < yours end
    end
    return false
  end

  -- A moment from its kind (`n` now, `i` in, `a` at) and value.
  function K.moment(kind, value)
    if kind == 'n' then return now end
    if kind == 'i' then return math.min(now + value, MAX_TIME) end
    return value
  end

  function K.priority_of(mark)
    return open('>I4', mark, 15) - 2147483648
  end

  function K.with(flags, flag)
    return band(flags, flag) == 0 and flags + flag or flags
  end

  function K.without(flags, flag)
    return band(flags, flag) ~= 0 and flags - flag or flags
  end

  function K.is_end(state)
    return state == 'c' or state == 'd' or state == 'x' or state == 'e'
  end

  -- The fields of a record: task, what it needs, its priority, its time, whom it waits for, by what trigger and as what node,
  -- what it expires by, its tags, its keys as `limits.lua` reads them, where its ties and its envelope stand. A record is the number of the admission (6), the caller's
  -- part (flags 1, length of the task 1, task, what is not usual, envelope), and when it was taken in: so long after its id
  -- was made (4), or a time of its own (8) and four bytes of 255.
  function K.read(record)
    local flags, length = byte(record, 7, 8)
    local at = 9 + length
    local job = {flags = flags, task = sub(record, 9, at - 1), needs = 1, priority = 0, kind = 'n', value = 0}
    if band(flags, 2) ~= 0 then
      job.needs = open('>I2', record, at)
      at = at + 2
    end
    if band(flags, 4) ~= 0 then
      job.priority = open('>i4', record, at)
      at = at + 4
    end
    if band(flags, 8) ~= 0 then
      job.kind, job.value = sub(record, at, at), open('>I8', record, at + 1)
      at = at + 9
    end
    if band(flags, 16) ~= 0 then
      local ties = open('>I2', record, at)
      local trigger, node = math.floor(ties / 16384) + 1, math.floor(ties / 4096) % 4 + 1
      job.trigger, job.node, job.parents, job.tied = sub('cef', trigger, trigger), sub('tghy', node, node), {}, at
      at = at + 2
      for i = 1, ties % 4096 do
        job.parents[i], at = sub(record, at, at + 15), at + 16
      end
      if node == 2 then job.keep, at = open('>I8', record, at), at + 8 end
      if node == 4 then job.to, at = at, at + 17 + byte(record, at) end
      job.untied = at - 1
    end
    if band(flags, 32) ~= 0 then
      job.limits = sub(record, at, at + 17)
      at = at + 18
    end
    if band(flags, 64) ~= 0 then
      job.tags = {}
      local count = byte(record, at)
      at = at + 1
      for i = 1, count do
        job.tags[i] = sub(record, at + 1, at + byte(record, at))
        at = at + 1 + byte(record, at)
      end
    end
    if flags > 127 then
      local length = open('>I2', record, at)
      job.keys = sub(record, at + 2, at + 1 + length)
      at = at + 2 + length
    end
    job.envelope = at
    return job
  end

  -- When a record was taken in, and of how many bytes at its end that is told.
  function K.taken_in(id, record)
    local delay = open('>I4', record, #record - 3)
    if delay == 4294967295 then return open('>I8', record, #record - 11), 12 end
    return open('>I6', id) * 1000 + delay, 4
  end

  -- The mark of a job that has none yet.
  function K.fresh(state, record, job, seq, due)
    return state .. '\0' .. sub(record, 1, 6) .. seq .. pack('>I4', job.priority + 2147483648) .. char(job.flags) .. ZERO8
      .. due .. NONE8 .. ZERO8 .. ZERO16 .. NONE8
  end

  -- The mark of a stored job that has none.
  function K.unmarked(id, record)
    local job = K.read(record)
    if job.kind == 'n' then return K.fresh('r', record, job, sub(record, 1, 6), NONE8) end
    local due = job.kind == 'i' and math.min(K.taken_in(id, record) + job.value, MAX_TIME) or job.value
    return K.fresh('s', record, job, rep('\0', 6), pack('>I8', due))
  end

  -- The moments by which a job must have started and ended, as its note has them; `from` is nil while that is not known.
  function K.limits_from(job, from)
    local moments = ''
    for at = 1, 10, 9 do
      local kind, value = sub(job.limits, at, at), open('>I8', job.limits, at + 1)
      local moment = kind == 'a' and value or from and (kind == 'i' and math.min(from + value, MAX_TIME) or kind == 'n' and from)
      moments = moments .. (moment and pack('>I8', moment) or NONE8)
    end
    return moments
  end

  -- The moment past which a job that does not run is expired, and the word for why; nothing if there is none.
  function K.overdue(limits, has_started)
    local start, deadline = sub(limits, 1, 8), sub(limits, 9)
    local first = not has_started and start ~= NONE8 and open('>I8', start)
    local last = deadline ~= NONE8 and open('>I8', deadline)
    if first and (not last or first <= last) then return first, 'overdue' end
    if last then return last, 'deadline' end
  end

  -- Puts a job that does not run among those that are to expire, as its limits say; to be told `limits` that are new.
  function K.expires(id, mark, limits)
    if limits then
      call('HSET', NOTES, 'l' .. id, limits)
    else
      limits = call('HGET', NOTES, 'l' .. id)
    end
    local at = K.overdue(limits, sub(mark, 36, 43) ~= NONE8)
    if not at then return end
    K.comes_over(at)
    call('ZADD', EXPIRING, at, id)
  end

  -- A job's member in the lines of those that are due later: what its mark needs when it has none yet.
  function K.due_member(id, mark)
    return id .. sub(mark, 15, 18) .. sub(mark, 3, 8) .. sub(mark, 19, 19)
  end

  function K.next_sequence()
    S.sequence = S.sequence + 1
    return pack('>I6', S.sequence)
  end

  -- The earliest due time of all jobs that are scheduled or retrying.
  function K.next_due()
    local delayed = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]
    local retrying = call('ZRANGE', RETRYING, 0, 0, 'WITHSCORES')[2]
    if delayed and retrying then return math.min(delayed, retrying) end
    return tonumber(delayed or retrying)
  end

  -- A job comes due then; to be called before it is put in its line.
  function K.comes_due(due)
    if not S.due then S.due_before = K.next_due() end
    S.due = math.min(S.due or due, due)
  end

  -- The same for one that is to expire then.
  function K.comes_over(at)
    if not S.over then S.over_before = tonumber((call('ZRANGE', EXPIRING, 0, 0, 'WITHSCORES')[2])) end
    S.over = math.min(S.over or at, at)
  end

  -- Messages to those who listen, each process on a channel of its own: first, that these jobs have ended.
  function K.tell(ids)
    for i, ears in ipairs(call('HMGET', INTEREST, unpack(ids))) do
      if ears then
        for at = 1, #ears, 26 do
          call(SPEAK, CHANNEL .. sub(ears, at, at + 25), 'j' .. ids[i])
        end
        call('HDEL', INTEREST, ids[i])
      end
    end
  end

  -- Wakes up to `count` sleepers, the last to fall asleep first, trying no more than eight: one that died asleep hears
  -- nothing, and the next is tried.
  function K.wake(count)
    for _ = 1, 8 do
      if count <= 0 then return end
      local sleeper = call('ZPOPMAX', SLEEPERS)[1]
      if not sleeper then return end
      if call(SPEAK, CHANNEL .. sub(sleeper, 1, 26), 'w' .. sub(sleeper, 27)) > 0 then count = count - 1 end
    end
  end

  -- Wakes for what this call made ready, or due or overdue sooner than sleepers know.
  function K.wake_for(ready)
    if ready > 0 then
      K.wake(ready)
    elseif S.sooner or S.due and (not S.due_before or S.due < S.due_before)
      or S.over and (not S.over_before or S.over < S.over_before) then
      K.wake(1)
    end
  end

  -- Lets an ended job be pruned.
  function K.keep(id, mark)
    local is_trace = byte(mark) == 99 and band(byte(mark, 2), RESULT) == 0
    call('ZADD', is_trace and TRACES or KEPT, open('>I8', mark, 68), id)
  end

  -- What follows from an end that is written as `mark`: it is counted and told, it may be pruned unless it is kept for
  -- another, and what hangs on it is followed later, whom it waited for only unless it was `let_go` of. Dead letters are
  -- listed meanwhile.
  function K.close(id, mark, let_go)
    local state, held = sub(mark, 1, 1), band(byte(mark, 2), HELD) ~= 0
    S.ends[state] = (S.ends[state] or 0) + 1
    S.told[#S.told + 1] = id
    if held or not let_go and band(byte(mark, 19), 16) ~= 0 then call('RPUSH', FOLLOW, id) end
    if state == 'd' then call('ZADD', DEAD, open('>I8', mark, 44), id) end
    if not held then K.keep(id, mark) end
  end

  return K
end

-- Counts and tells the ends of this call, and writes what was gathered of its limits.
local function finish(K)
  if S.limiter then S.limiter.flush() end
  for state, count in pairs(S.ends) do
    redis.call('HINCRBY', KEYS[1], 'e:' .. state, count)
  end
  if #S.told > 0 and redis.call('EXISTS', KEYS[20]) == 1 then (K or kit()).tell(S.told) end
end
