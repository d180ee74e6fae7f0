-- Jobs that wait for jobs, for the scripts that take such in, end them or remove them: the record's flag 16, which a mark has
-- too. What a waiting job waits for, and what it is in its flow, stands in its mark: whoever settles never reads its record.
--
-- An edge is members of `edges`, seen from either end and told apart by their first letter:
--   o parent child, w child parent  until it is struck: the parent has ended and the child was told
--   r parent child, p child parent  while the child needs what the parent has come to
--   k parent child, q child parent  once it has ended and may yet run, or wait, again
-- Nothing is counted: the last edge is struck when none is left under its letter. A dead letter is kept by itself, so
-- edges of the last two kinds lead to one only until it has been followed.
local function edger(K)
  local T = {}
  local call, sub, byte, char, pack, open, band = redis.call, string.sub, string.byte, string.char, struct.pack,
    struct.unpack, bit.band
  local JOBS, MARKS, READY, DELAYED, TRACES, KEPT, EDGES, FOLLOW, EXPIRING, OUTBOX = KEYS[2], KEYS[3], KEYS[5], KEYS[8],
    KEYS[12], KEYS[13], KEYS[14], KEYS[15], KEYS[21], KEYS[30]
  local HELD, ASIDE, LIMITS, now = 4, 32, 32, S.now
  local NONE8, ZERO8, ZERO16, FAR = string.rep('\255', 8), string.rep('\0', 8), string.rep('\0', 16), string.rep('\255', 30)

  -- The members under a prefix, at most that many.
  local function edges(prefix, limit)
    return call('ZRANGEBYLEX', EDGES, '[' .. prefix, '[' .. prefix .. FAR, 'LIMIT', 0, limit)
  end

  -- The last part of the mark of a job that begins to wait: its time, or for how long a gather is kept; and unless it is a
  -- task's that waits for completions, what it waits for and what it is.
  function T.waiting(job)
    local word = job.trigger .. job.node
    return pack('>I8', job.node == 'g' and job.keep or job.value) .. ZERO16 .. pack('>I8', byte(job.kind))
      .. (word ~= 'ct' and word or '')
  end

  -- A waiting job is cancelled for what another came to. Its record is told where it is not stored yet.
  function T.cancel(child, mark, word, culprit, other, let_go, record)
    local keep_until = math.max(open('>I8', other, 68), now)
    local ended = 'x' .. sub(mark, 2, 43) .. pack('>I8', now) .. culprit .. pack('>I8', keep_until) .. word
    call('HSET', MARKS, child, ended)
    S.upkept[#S.upkept + 1] = 'x' .. child
    if byte(mark, 19) > 127 then S.limits(K).moved(child, mark, ended, record) end
    if band(byte(mark, 19), LIMITS) ~= 0 then call('ZREM', EXPIRING, child) end
    K.close(child, ended, let_go)
    return 'x'
  end

  -- Whom to blame for the end of a job that did not complete.
  function T.origin(id, mark)
    return sub(mark, 76) == 'dependency' and sub(mark, 52, 67) or id
  end

  -- A gather has all that it waits for: it completes.
  local function gather(id, mark)
    local keep_until = math.min(now + open('>I8', mark, 44), 9007199254740992)
    mark = 'c' .. sub(mark, 2, 43) .. pack('>I8', now) .. ZERO16 .. pack('>I8', keep_until) .. 'gathered'
    call('HSET', MARKS, id, mark)
    if band(byte(mark, 19), LIMITS) ~= 0 then call('ZREM', EXPIRING, id) end
    K.close(id, mark, true)
    return 'c'
  end

  -- A relay has something to deliver: it goes to the outbox.
  local function post(id, mark)
    local seq = K.next_sequence()
    call('HSET', MARKS, id, 'r' .. char(K.with(byte(mark, 2), ASIDE)) .. sub(mark, 3, 8) .. seq .. sub(mark, 15, 43)
      .. pack('>I8', now) .. ZERO16 .. NONE8 .. 'outbox')
    call('ZADD', OUTBOX, 0, seq .. id)
    S.posted = 1
    return 'r'
  end

  -- What a waiting job waits for has come. It is asked for its record where that is not known. Answers its state.
  function T.reach(child, mark, record)
    local node = sub(mark, 77)
    if node == 'g' then return gather(child, mark) end
    if node == 'y' then return post(child, mark) end
    local kind = char((open('>I8', mark, 68)))
    local due = K.moment(kind, open('>I8', mark, 44))
    if band(byte(mark, 19), LIMITS) ~= 0 then
      K.expires(child, mark, K.limits_from(K.read(record or call('HGET', JOBS, child)), due))
    end
    local tail = (kind == 'n' and NONE8 or pack('>I8', due)) .. sub(mark, 36, 43) .. ZERO8 .. ZERO16 .. NONE8
    if kind ~= 'n' and due > now then
      call('HSET', MARKS, child, 's' .. sub(mark, 2, 27) .. tail)
      K.comes_due(due)
      call('ZADD', DELAYED, due, K.due_member(child, mark))
      return 's'
    end
    local seq = K.next_sequence()
    call('HSET', MARKS, child, 'r' .. sub(mark, 2, 8) .. seq .. sub(mark, 15, 27) .. tail)
    call('ZADD', READY, 0 - K.priority_of(mark), seq .. child)
    S.ready = S.ready + 1
    return 'r'
  end

  -- What becomes of a job that begins to wait now, given the marks of those it waits for: `w` it waits, `r` it is reached,
  -- `x` it is cancelled, for this job and by this word.
  function T.outcome(job, marks)
    local waits, last, seen = job.node == 'h', nil, {}
    for _, parent in ipairs(job.parents) do
      local mark = marks[parent]
      if not K.is_end(sub(mark, 1, 1)) then
        waits = true
      elseif byte(mark) ~= 99 then
        if job.trigger == 'c' then return 'x', parent, 'dependency' end
        if job.trigger == 'f' then return 'r' end
      end
      last, seen[parent] = seen[parent] and last or parent, true
    end
    if waits then return 'w' end
    if job.trigger == 'f' and last then return 'x', last, 'not_needed' end
    return 'r'
  end

  -- Adds the edges of a job of which `how` has come to those it waits for, as a sorted set takes them: by which it keeps
  -- these, and by which it waits for them.
  function T.tie(id, parents, marks, how, word, readers, open_edges)
    local of, to = how == 'x' and 'k' or 'r', how == 'x' and 'q' or 'p'
    for _, parent in ipairs(word ~= 'not_needed' and parents or {}) do
      local state = sub(marks[parent], 1, 1)
      if state ~= 'd' then
        readers[#readers + 1], readers[#readers + 2] = 0, of .. parent .. id
        readers[#readers + 1], readers[#readers + 2] = 0, to .. id .. parent
      end
      if how == 'w' and not K.is_end(state) then
        open_edges[#open_edges + 1], open_edges[#open_edges + 2] = 0, 'o' .. parent .. id
        open_edges[#open_edges + 1], open_edges[#open_edges + 2] = 0, 'w' .. id .. parent
      end
    end
  end

  -- Keeps jobs for one that was tied to them. Answers the marks that are to be written, by id, and sets them in `marks`.
  function T.hold(parents, marks, word)
    local changed = {}
    for _, parent in ipairs(word ~= 'not_needed' and parents or {}) do
      local mark = marks[parent]
      if byte(mark) ~= 100 and band(byte(mark, 2), HELD) == 0 then
        if K.is_end(sub(mark, 1, 1)) then
          call('ZREM', TRACES, parent)
          call('ZREM', KEPT, parent)
        end
        marks[parent] = sub(mark, 1, 1) .. char(byte(mark, 2) + HELD) .. sub(mark, 3)
        changed[parent] = marks[parent]
      end
    end
    return changed
  end

  -- Whether a live job needs this one, or a gather that has completed; not one whose end was merely not followed yet.
  function T.is_needed(id, mark)
    if band(byte(mark, 2), HELD) == 0 then return false end
    local from, found = '[r' .. id, nil
    repeat
      found = call('ZRANGEBYLEX', EDGES, from, '[r' .. id .. FAR, 'LIMIT', 0, 100)
      local readers = {}
      for i, edge in ipairs(found) do
        readers[i] = sub(edge, 18)
      end
      for _, reader in ipairs(#readers > 0 and call('HMGET', MARKS, unpack(readers)) or {}) do
        if reader and (not K.is_end(sub(reader, 1, 1)) or sub(reader, 76) == 'gathered') then return true end
      end
      from = '(' .. (found[#found] or '')
    until #found < 100
    return false
  end

  -- Whoever is held by nobody any more may be pruned once it has ended.
  local function free(ids)
    local changed = {}
    for i, mark in ipairs(call('HMGET', MARKS, unpack(ids))) do
      if mark and band(byte(mark, 2), HELD) ~= 0 then
        changed[#changed + 1] = ids[i]
        changed[#changed + 1] = sub(mark, 1, 1) .. char(byte(mark, 2) - HELD) .. sub(mark, 3)
        if K.is_end(sub(mark, 1, 1)) then K.keep(ids[i], mark) end
      end
    end
    if #changed > 0 then call('HSET', MARKS, unpack(changed)) end
  end

  -- Forgets the edges of a job to those that `found` names, members that begin with a letter and it.
  local function let_go(child, found)
    local gone, freed = {}, {}
    for _, edge in ipairs(found) do
      local parent = sub(edge, 18)
      for _, letter in ipairs({'p', 'q', 'w'}) do
        gone[#gone + 1] = letter .. child .. parent
      end
      for _, letter in ipairs({'r', 'k', 'o'}) do
        gone[#gone + 1] = letter .. parent .. child
      end
    end
    call('ZREM', EDGES, unpack(gone))
    for _, edge in ipairs(found) do
      local parent = sub(edge, 18)
      if #edges('r' .. parent, 1) == 0 and #edges('k' .. parent, 1) == 0 then freed[#freed + 1] = parent end
    end
    if #freed > 0 then free(freed) end
  end

  -- Lets go of all whom an ended job needed or keeps, of so many at most; answers how many there were.
  function T.let_all_go(id, budget)
    local count = 0
    for _, letter in ipairs({'p', 'q'}) do
      local wanted, found
      repeat
        wanted = math.min(budget - count, 100)
        found = wanted > 0 and edges(letter .. id, wanted) or {}
        if #found > 0 then let_go(id, found) end
        count = count + #found
      until #found < 100
    end
    return count
  end

  -- Changes edges of one kind into those of another: from `of` parent child and `to` child parent.
  local function turn(id, found, from, to)
    local gone, new = {}, {}
    for _, edge in ipairs(found) do
      local parent = sub(edge, 18)
      gone[#gone + 1], gone[#gone + 2] = edge, sub(from, 1, 1) .. parent .. id
      new[#new + 1], new[#new + 2] = 0, sub(to, 2, 2) .. id .. parent
      new[#new + 1], new[#new + 2] = 0, sub(to, 1, 1) .. parent .. id
    end
    call('ZREM', EDGES, unpack(gone))
    call('ZADD', EDGES, unpack(new))
  end

  -- Makes those whom a job needed such that it keeps, of so many at most; answers how many there were.
  function T.keep_all(id, budget)
    local found = edges('p' .. id, budget)
    if #found > 0 then turn(id, found, 'rp', 'kq') end
    return #found
  end

  -- What an ended job needs of those it waited for: a gather that completed all, to be read; others nothing, but those that
  -- may run or wait again keep it. Answers how many edges that took.
  local function release(id, mark, budget)
    local word = sub(mark, 76)
    if word == 'gathered' then return 0 end
    if byte(mark) ~= 99 and word ~= 'not_needed' then return T.keep_all(id, budget) end
    local found = edges('p' .. id, budget)
    if #found > 0 then let_go(id, found) end
    return #found
  end

  -- Tells a waiting job that one it waits for has ended.
  local function strike(parent, ended, child, mark)
    local completed, trigger = byte(ended) == 99, sub(mark, 76, 76)
    if not completed and trigger ~= 'e' and trigger ~= 'f' then
      return T.cancel(child, mark, 'dependency', T.origin(parent, ended), ended)
    end
    if not completed and trigger == 'f' then return T.reach(child, mark) end
    if #edges('w' .. child, 1) > 0 then return end
    if trigger == 'f' then return T.cancel(child, mark, 'not_needed', ZERO16, ended) end
    T.reach(child, mark)
  end

  -- A dead letter has been followed: it is kept for nobody any more. Answers how many edges that took.
  local function bury(id, mark, budget)
    local count = 0
    for _, letters in ipairs({'rp', 'kq'}) do
      local found, gone = count < budget and edges(sub(letters, 1, 1) .. id, budget - count) or {}, {}
      for _, edge in ipairs(found) do
        gone[#gone + 1], gone[#gone + 2] = edge, sub(letters, 2) .. sub(edge, 18) .. id
      end
      if #gone > 0 then call('ZREM', EDGES, unpack(gone)) end
      count = count + #found
    end
    if count < budget then
      call('HSET', MARKS, id, 'd' .. char(byte(mark, 2) - HELD) .. sub(mark, 3))
      K.keep(id, mark)
    end
    return count
  end

  -- Follows up to `budget` edges of one that has ended: to those it waited for, then to those that wait for it.
  local function follow_one(id, mark, budget)
    local spent = band(byte(mark, 19), 16) ~= 0 and release(id, mark, budget) or 0
    if band(byte(mark, 2), HELD) == 0 then return spent end
    local is_dead = byte(mark) == 100
    for _, edge in ipairs(spent < budget and edges('o' .. id, budget - spent) or {}) do
      local child = sub(edge, 18)
      local waiting = call('HGET', MARKS, child)
      spent = spent + 1
      call('ZREM', EDGES, edge, 'w' .. child .. id, unpack(is_dead and {'r' .. id .. child, 'p' .. child .. id} or {}))
      if waiting and byte(waiting) == 119 then strike(id, mark, child, waiting) end
    end
    if is_dead and spent < budget then spent = spent + bury(id, mark, budget - spent) end
    return spent
  end

  -- Follows up to `budget` edges of jobs that have ended. Answers what is left of it. A job that is no end was pruned before
  -- it was its turn and perhaps taken in anew, or runs again.
  function T.follow(budget)
    while budget > 0 do
      local id = call('LINDEX', FOLLOW, 0)
      if not id then return budget end
      local mark = call('HGET', MARKS, id)
      if mark and K.is_end(sub(mark, 1, 1)) then budget = budget - follow_one(id, mark, budget) end
      if budget > 0 then call('LPOP', FOLLOW) end
    end
    return 0
  end

  -- Makes those whom a job keeps such that it needs, for it is live again.
  function T.need_again(id)
    local found
    repeat
      found = edges('q' .. id, 100)
      if #found > 0 then turn(id, found, 'kq', 'rp') end
    until #found < 100
  end

  return T
end

-- The one of this call, made when it is first asked for.
function S.edges(K)
  S.edger = S.edger or edger(K)
  return S.edger
end
