-- How leases end, and how what a call changes is gathered and written. The settlements, the promotions, the reclaims and the
-- claims use it. Leans on the caller's `terms` and `rules` (call), on `enders` (ends) and on `S.limits` (limits).

-- What is written is gathered by where it goes, and written together: marks, notes, members to leave `leased` and to
-- join `traces`, and by key what joins other lines.
local W = {marks = {}, notes = {}, freed = {}, traces = {}, moves = {}}

local function write()
  local call, gathered = redis.call, W
  if #gathered.freed > 0 then call('ZREM', KEYS[10], unpack(gathered.freed)) end
  if #gathered.marks > 0 then call('HSET', KEYS[3], unpack(gathered.marks)) end
  if #gathered.notes > 0 then call('HSET', KEYS[4], unpack(gathered.notes)) end
  if #gathered.traces > 0 then call('ZADD', KEYS[12], unpack(gathered.traces)) end
  for key, members in pairs(gathered.moves) do
    call('ZADD', key, unpack(members))
  end
  W = {marks = {}, notes = {}, freed = {}, traces = {}, moves = {}}
end

-- The time to which an end is kept, the end of a mark of ours that says so, and its last part, by how long: mostly the same
-- for all of a call.
local keeps = {}

local function kept_for(duration)
  local keep = keeps[duration]
  if not keep then
    local keep_until = math.min(S.now + struct.unpack('>I8', duration), 9007199254740992)
    local packed = struct.pack('>I8', keep_until)
    keep = {string.format('%.0f', keep_until), struct.pack('>I8', S.now) .. worker .. packed, packed}
    keeps[duration] = keep
  end
  return keep
end

-- How a lease ends otherwise than in a plain completion: every other settlement, and what becomes of a lost one.
local function endings()
  local E = {}
  local sub, byte, char, pack, open, band = string.sub, string.byte, string.char, struct.pack, struct.unpack, bit.band
  local READY, SUSPECTS, DELAYED, RETRYING, DEAD, TRACES, KEPT = KEYS[5], KEYS[6], KEYS[8], KEYS[9], KEYS[11], KEYS[12],
    KEYS[13]
  local DELIVERED, SUSPECT, HELD, FAILED, RESULT, ASKED, NOTED, MAX_LAPSES, now = 1, 2, 4, 8, 16, 64, 128, 10, S.now
  local REST, NOW = string.rep('\0', 24) .. string.rep('\255', 8), pack('>I8', S.now)
  K = K or kit()
  Z = Z or enders(K)

  function E.move(key, score, member)
    local to = W.moves[key] or {}
    to[#to + 1], to[#to + 2] = score, member
    W.moves[key] = to
  end

  function E.set_mark(id, mark)
    W.marks[#W.marks + 1], W.marks[#W.marks + 2] = id, mark
  end

  local function set_note(kind, id, body)
    W.notes[#W.notes + 1], W.notes[#W.notes + 2] = kind .. id, body
  end

  -- The flags of an end, a retry or a snooze: nobody holds it, nobody asks it to stop, and whatever was suspected is cleared.
  local function calm(mark)
    return band(byte(mark, 2), 255 - DELIVERED - SUSPECT - ASKED)
  end

  local function finally(id, mark, attempts, duration, state, flags, word, most)
    local keep = kept_for(duration)
    if band(flags, NOTED) ~= 0 then
      local history = redis.call('HGET', KEYS[4], 'h' .. id)
      if history and open('>I4', history, 9) > most then set_note('h', id, Z.shorten(history, most)) end
    end
    local ended = state .. char(flags) .. sub(mark, 3, 19) .. attempts .. sub(mark, 24, 43) .. NOW .. sub(mark, 52, 67)
      .. keep[3] .. word
    E.set_mark(id, ended)
    if band(flags, HELD) ~= 0 or band(byte(mark, 19), 16) ~= 0 then return K.close(id, ended) end
    S.ends[state] = (S.ends[state] or 0) + 1
    S.told[#S.told + 1] = id
    E.move((state == 'c' and band(flags, RESULT) == 0) and TRACES or KEPT, keep[1], id)
    if state == 'd' then E.move(DEAD, now, id) end
  end

  -- Remembers the run of a job that goes on. Answers its flags.
  local function remember(id, mark, flags, word, failure, most)
    set_note('h', id, Z.remembered(id, mark, NOW, word, failure, most))
    if band(byte(mark, 19), 32) ~= 0 then K.expires(id, mark) end
    return K.with(flags, NOTED)
  end

  local function later(id, mark, head, state, key, flags)
    local due = K.moment(sub(head, 30, 30), open('>I8', head, 31))
    E.set_mark(id, state .. char(flags) .. sub(mark, 3, 19) .. sub(head, 25, 28) .. sub(mark, 24, 27) .. pack('>I8', due)
      .. sub(mark, 36, 43) .. REST)
    K.comes_due(due)
    E.move(key, due, K.due_member(id, mark))
  end

  local function again(id, mark, flags, attempts)
    E.set_mark(id, 'r' .. char(flags) .. sub(mark, 3, 19) .. attempts .. sub(mark, 24, 43) .. REST)
    local suspect = band(flags, SUSPECT) ~= 0
    E.move(suspect and SUSPECTS or READY, 0 - K.priority_of(mark), sub(mark, 9, 14) .. id)
    S.ready, S.suspects = S.ready + 1, S.suspects or suspect
  end

  -- Writes a settlement; whether it is a cancellation instead, since someone had asked the run to stop.
  function E.settle(id, mark, head, body)
    local called_off = false
    local kind, attempts, duration = sub(head, 29, 29), sub(head, 25, 28), sub(head, 31)
    if band(byte(mark, 2), ASKED) ~= 0 and (kind == 't' or kind == 's' or kind == 'l') then
      kind, duration, body = 'x', sub(mark, 68, 75), '\9requested' .. (kind == 't' and body or '')
      called_off = true
    end
    if kind == 'c' then
      finally(id, mark, attempts, duration, 'c', calm(mark), '', terms.remember)
    elseif kind == 'C' then
      set_note('r', id, body)
      finally(id, mark, attempts, duration, 'c', K.with(calm(mark), RESULT), '', terms.remember)
    elseif kind == 't' then
      set_note('f', id, body)
      later(id, mark, head, 't', RETRYING, remember(id, mark, K.with(calm(mark), FAILED), 'failed', body, terms.remember))
    elseif kind == 's' then
      later(id, mark, head, 's', DELAYED, remember(id, mark, calm(mark), 'snoozed', '', terms.remember))
    elseif kind == 'l' then
      local flags = remember(id, mark, K.without(byte(mark, 2), DELIVERED), 'released', '', terms.remember)
      again(id, mark, flags, attempts)
    else
      local length, flags = byte(body), calm(mark)
      local failure = sub(body, 2 + length)
      if failure ~= '' then
        set_note('f', id, failure)
        flags = K.with(flags, FAILED)
      end
      finally(id, mark, attempts, duration, kind, flags, sub(body, 2, 1 + length), terms.remember)
    end
    return called_off
  end

  -- Closes the rates that a job is under whose settlement says so.
  function E.close(id, head, body)
    if byte(head, 29) == 115 and #body == 8 then S.limits(K).close(id, (open('>I8', body))) end
  end

  local function is_delivered(mark, one, at_most_once)
    local fence = open('>I8', mark, 44)
    if not at_most_once and (not one.known or fence <= one.void) then return false end
    return band(byte(mark, 2), DELIVERED) ~= 0 or fence < math.max(one.fence, one.void)
  end

  -- Takes the lease of a job back from its holder.
  function E.take_back(id, mark, one)
    local at_most_once, asked = band(byte(mark, 19), 1) ~= 0, band(byte(mark, 2), ASKED) ~= 0
    local delivered = is_delivered(mark, one, at_most_once)
    local crashes, lapses = open('>I2I2', mark, 24)
    local flags, state, reason = K.without(K.without(byte(mark, 2), DELIVERED), ASKED), nil, nil
    local times, failure = nil, ''
    if not delivered then
      lapses = math.min(lapses + 1, 65535)
      if one.limit > 0 and lapses >= MAX_LAPSES and not asked then state, reason, times = 'd', 'crashed', lapses end
    elseif at_most_once then
      state, reason, times = 'd', 'interrupted', 1
    else
      crashes = math.min(crashes + 1, 65535)
      flags, times = K.with(flags, SUSPECT), crashes
      if one.limit > 0 and crashes >= one.limit then state, reason = 'd', 'crashed' end
    end
    if asked then state, reason = 'x', 'requested' end
    if times then
      flags, failure = K.with(flags, FAILED), '\0' .. (delivered and '1' or '0') .. pack('>I4', times) .. sub(mark, 52, 67)
      set_note('f', id, failure)
    end
    mark = sub(mark, 1, 23) .. pack('>I2I2', crashes, lapses) .. sub(mark, 28)
    W.freed[#W.freed + 1] = id
    S.upkept[#S.upkept + 1] = (state or 'r') .. id
    if state then
      local keep = asked and sub(mark, 68, 75) or pack('>I8', one.keep)
      finally(id, mark, sub(mark, 20, 23), keep, state, flags, reason, one.remember)
    else
      flags = remember(id, mark, flags, delivered and 'crashed' or 'lapsed', failure, one.remember)
      again(id, mark, flags, sub(mark, 20, 23))
    end
  end

  -- What ends a job that comes to run, if anything does: the state, the word, and the place of the rule that says so.
  function E.doom(id, mark, record)
    if band(byte(record, 7), 32) ~= 0 then
      local at = redis.call('ZSCORE', KEYS[21], id)
      if at and tonumber(at) <= now then
        local has_started = mark and sub(mark, 36, 43) ~= string.rep('\255', 8)
        local _, word = K.overdue(redis.call('HGET', KEYS[4], 'l' .. id), has_started)
        return 'e', word
      end
    end
    local rule = rules and rules.fit(K, id, record)
    if rule then return 'x', 'revoked', rule end
  end

  -- Ends a job that comes to run although it is overdue or revoked, and stands in line no more.
  function E.dismiss(id, mark, record, state, word, rule)
    Z.finish(id, mark or K.unmarked(id, record), state, word, now + terms.keep_ended, 0)
    if rule then rules.use(rule) end
  end

  -- Parks a job that comes to run while a limit holds it back, and stands in line no more.
  function E.park(id, mark, record, reason, limit)
    local G, before = S.limits(K), mark or K.unmarked(id, record)
    mark = G.park(id, before, reason, limit)
    E.set_mark(id, mark)
    G.moved(id, before, mark, record)
  end

  -- Ends what is overdue; whether there was anything.
  function E.expire()
    local call = redis.call
    local ids = call('ZRANGEBYSCORE', KEYS[21], '-inf', now, 'LIMIT', 0, 100)
    if #ids == 0 then return false end
    local records, marks = call('HMGET', KEYS[2], unpack(ids)), call('HMGET', KEYS[3], unpack(ids))
    for i, id in ipairs(ids) do
      local mark = marks[i] or K.unmarked(id, records[i])
      -- One that was parked for a key may have come back into line for those that expired before it.
      if string.byte(mark, 19) > 127 then mark = call('HGET', KEYS[3], id) or mark end
      local _, word = K.overdue(call('HGET', KEYS[4], 'l' .. id), sub(mark, 36, 43) ~= string.rep('\255', 8))
      Z.leave(id, mark, records[i])
      Z.finish(id, mark, 'e', word, now + terms.keep_ended, 0)
    end
    return true
  end

  return E
end

-- Made when something first needs it.
local E
