-- Settles and claims, in one step: the exchange of the contract, step by step.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 worker (16 bytes), 4 number, 5 how many jobs it wants, 6 how many of them may be
--       suspects, 7 the ear by which its process listens (26 characters) or nothing; then for each settlement a head (id 16,
--       fence 8, attempts 4, kind 1, kind of time 1, time 8) and a body. Kinds: c completed, C completed with the result
--       that is the body, t retry, s snooze, l release, d die, x cancel. The time is when it is due, or how long its end is
--       kept. The body of t is the failure; that of d and x the length of its reason (1), the reason, the failure or nothing;
--       that of s for how long the rates it is under are closed (8), or nothing.
-- Returns  `ok`, a head (now 8, fence 8, end of the leases 8, look again after 8, suspects left 1), one `1` or `0` for each
--       settlement, the tasks parked that are unknown here with a NUL after each, the ids that losing a lease made dead,
--       and for each job claimed its id and mark (the id alone if it is as it was taken in), its record, its failure,
--       history, progress and limits if its mark says that it has such, and the result of each job it waited for; or
--       `unknown`; or `superseded` and the number that came first.
-- Cost  11 commands, 6 more to settle and 8 more to claim, and for each job settled or claimed one member of some variadic
--       ones; 2 for each parked job claimed and for each task of which some are parked, up to 8 for each job expired or
--       revoked, up to 2 for each limit or history of a job that goes on; for each job with keys up to 6 when it starts and 9
--       for each slot that it leaves, 5 for each job parked for a rate that comes back. At most 256 settlements, 200 edges, 100
--       promotions, 100 expiries, 100 reclaims out of 300 leases looked at, 256 claims out of 256 heads, 4 MiB of envelopes.
local worker, number, want, suspects_wanted, ear = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local kept = call('HMGET', META, 'seq', 'fence', 'seen', 'spare', 'silent', 'back', 'w:' .. worker, 'n:' .. worker, 'rules', 'opens',
  'paid')
local record_of_worker, last = kept[7], kept[8]
if not record_of_worker then return {'unknown'} end
local last_number, last_fence, asleep = 0, 0, nil
if last then
  last_number, last_fence = open('>I8I8', last)
  asleep = byte(last, 17) == 1 and sub(last, 18, 43)
end
if last and number < last_number then return {'superseded', last_number} end
S.sequence = tonumber(kept[1]) or 0

local terms = terms_of(record_of_worker)
local seen, spare, silent = tonumber(kept[3]), tonumber(kept[4]) or 0, tonumber(kept[5]) or 0
if kept[6] or seen and (now < seen or now - seen > 2 * terms.renew) then
  spare, silent = note(terms, kept[3], kept[4], kept[5], kept[6])
end
local lease_end = string.format('%.0f', now + terms.length)
local K, Z, more = nil, nil, false
-- What people say of the shard, and until when its starts are paid for; when jobs parked for a rate are looked at next.
local rules, paid = kept[9] and rules_of(kept[9], worker), tonumber(kept[11]) or 0
S.opens = tonumber(kept[10])

-- After how long another look is worth while, given the earliest due time, and that at which a job expires if one does.
local function look_again(due)
  local call, LEASED, now, ends = redis.call, KEYS[10], S.now, nil
  if S.expiring then
    local over = tonumber((call('ZRANGE', KEYS[21], 0, 0, 'WITHSCORES')[2]))
    due = due and over and math.min(due, over) or due or over
  end
  if S.opens then due = math.min(due or S.opens, S.opens) end
  local resumes, opens = rules and rules.ends, rules and rules.opens(paid)
  if resumes then due = math.min(due or resumes, resumes) end
  if opens then due = math.min(due or opens, opens) end
  due = due and math.max(due - now, 0)
  local first = call('ZRANGE', LEASED, 0, 0, 'WITHSCORES')[2]
  if not first then return due end
  ends = math.max(tonumber(first), spare) - now
  if ends <= 0 then
    local next_end = call('ZRANGEBYSCORE', LEASED, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    ends = next_end and tonumber(next_end) - now
  end
  ends = math.min(ends or terms.renew * 1.5, terms.renew * 1.5)
  return due and math.min(due, ends) or ends
end

local function head_of(fence, look, suspects_left)
  return struct.pack('>I8I8I8', S.now, fence, lease_end) .. (look and struct.pack('>I8', look) or string.rep('\255', 8))
    .. (suspects_left and '1' or '0')
end

-- What a claimed job with a mark is answered with: id and mark, record, its last failure, history, progress unless it is
-- `new` to this run, limits, results of those it waited for.
local function give(answer, id, mark, record, is_new)
  local call, byte, band = redis.call, string.byte, bit.band
  answer[#answer + 1] = id .. mark
  answer[#answer + 1] = record
  if band(byte(mark, 2), 8) ~= 0 then
    answer[#answer + 1] = call('HGET', KEYS[4], 'f' .. id)
  end
  if band(byte(mark, 2), 128) ~= 0 then
    answer[#answer + 1] = call('HGET', KEYS[4], 'h' .. id)
    answer[#answer + 1] = not is_new and call('HGET', KEYS[4], 'p' .. id)
  end
  if band(byte(mark, 19), 32) ~= 0 then
    answer[#answer + 1] = call('HGET', KEYS[4], 'l' .. id)
  end
  if band(byte(mark, 19), 16) ~= 0 then
    K = K or kit()
    for _, parent in ipairs(K.read(record).parents) do
      answer[#answer + 1] = call('HGET', KEYS[4], 'r' .. parent)
    end
  end
end

-- 1. Number. The same one answers the same.
if last and number == last_number then
  K = kit()
  S.expiring = true
  local settled_count = open('>I2', last, 44)
  local answer, fence = {'ok', '', sub(last, 46, 45 + settled_count), '', ''}, pack('>I8', last_fence) .. worker
  for at = 46 + settled_count, #last, 16 do
    local id = sub(last, at, at + 15)
    local mark = call('HGET', MARKS, id)
    if mark and byte(mark) == 108 and sub(mark, 44, 67) == fence then
      call('ZADD', LEASED, 'XX', lease_end, id)
      give(answer, id, mark, call('HGET', JOBS, id))
    end
  end
  answer[2] = head_of(last_fence, look_again(K.next_due()), call('EXISTS', SUSPECTS) == 1)
  call('HSET', META, 'seen', now)
  call('ZADD', IDLE, now, 'w:' .. worker)
  return answer
end
-- Who only settles and was asleep sleeps on.
if asleep and want > 0 then call('ZREM', SLEEPERS, asleep .. worker) end

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

  function E.settle(id, mark, head, body)
    local kind, attempts, duration = sub(head, 29, 29), sub(head, 25, 28), sub(head, 31)
    if band(byte(mark, 2), ASKED) ~= 0 and (kind == 't' or kind == 's' or kind == 'l') then
      kind, duration, body = 'x', sub(mark, 68, 75), '\9requested' .. (kind == 't' and body or '')
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
    if state == 'd' then S.died[#S.died + 1] = id end
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
      local _, word = K.overdue(call('HGET', KEYS[4], 'l' .. id), sub(mark, 36, 43) ~= string.rep('\255', 8))
      Z.leave(id, mark, records[i])
      Z.finish(id, mark, 'e', word, now + terms.keep_ended, 0)
    end
    return true
  end

  return E
end

local E

-- 2. Settle.
local settled = {}
if #ARGV > 7 then
  local ids, leases, marks, freed, traces, told, count = {}, {}, W.marks, W.freed, W.traces, S.told, 0
  for i = 8, #ARGV, 2 do
    ids[#ids + 1] = sub(ARGV[i], 1, 16)
  end
  local found = call('HMGET', MARKS, unpack(ids))
  for i, id in ipairs(ids) do
    local head, mark = ARGV[6 + i * 2], found[i]
    -- Mostly few claims are settled at once, and share their fences.
    local fence = sub(head, 17, 24)
    local lease = leases[fence] or fence .. worker
    leases[fence] = lease
    if not mark or sub(mark, 44, 67) ~= lease or byte(mark) ~= 108 then
      settled[i] = '0'
    else
      local of = byte(mark, 19)
      settled[i] = '1'
      freed[#freed + 1] = id
      -- What most come to, before all else: completed without a result, nobody suspects it and nothing hangs on it.
      if byte(head, 29) == 99 and byte(mark, 2) < 2 and of % 32 < 16 then
        local duration = sub(head, 31)
        local keep = keeps[duration] or kept_for(duration)
        marks[#marks + 1] = id
        marks[#marks + 1] = 'c\0' .. sub(mark, 3, 19) .. sub(head, 25, 28) .. sub(mark, 24, 43) .. keep[2]
        traces[#traces + 1] = keep[1]
        traces[#traces + 1] = id
        told[#told + 1] = id
        count = count + 1
      else
        E = E or endings()
        if of > 127 then E.close(id, head, ARGV[7 + i * 2]) end
        E.settle(id, mark, head, ARGV[7 + i * 2])
      end
      if of > 127 then
        K = K or kit()
        S.limits(K).moved(id, mark, marks[#marks])
      end
    end
  end
  if count > 0 then S.ends.c = (S.ends.c or 0) + count end
  write()
end

-- 3. Follow.
local stirs = call('EXISTS', FOLLOW, EXPIRING) > 0
if stirs then
  K = K or kit()
  K.follow(MAX_UPKEEP)
end

-- 4. Promote, the earliest first.
local delayed, retrying = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2], call('ZRANGE', RETRYING, 0, 0, 'WITHSCORES')[2]
local due = tonumber(delayed or retrying)
if delayed and retrying then due = math.min(delayed, retrying) end

local function promote()
  local call, sub, pack, open, now = redis.call, string.sub, struct.pack, struct.unpack, S.now
  local sources, ids, members, dues = {}, {}, {}, {}
  E = E or endings()
  for i, key in ipairs({KEYS[8], KEYS[9]}) do
    sources[i] = {key = key, at = 1, taken = {},
      found = call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, MAX_UPKEEP)}
  end
  while #ids < MAX_UPKEEP do
    local best, earliest
    for _, source in ipairs(sources) do
      local score = tonumber(source.found[source.at + 1])
      local is_earlier = score and best and score == earliest and K.before(source.found[source.at], best.found[best.at])
      if score and (not best or score < earliest or is_earlier) then best, earliest = source, score end
    end
    if not best then break end
    local member = best.found[best.at]
    best.at = best.at + 2
    best.taken[#best.taken + 1] = member
    ids[#ids + 1], members[#members + 1], dues[#dues + 1] = sub(member, 1, 16), member, earliest
  end
  for _, source in ipairs(sources) do
    if #source.taken > 0 then call('ZREM', source.key, unpack(source.taken)) end
  end
  local rest = string.rep('\0', 24) .. string.rep('\255', 8)
  for i, mark in ipairs(call('HMGET', KEYS[3], unpack(ids))) do
    local id, seq = ids[i], K.next_sequence()
    if not mark then
      local member, never = members[i], string.rep('\255', 8)
      mark = 'r\0' .. sub(member, 21, 26) .. seq .. sub(member, 17, 20) .. sub(member, 27) .. string.rep('\0', 8)
        .. pack('>I8', dues[i]) .. never
    end
    E.set_mark(id, 'r' .. sub(mark, 2, 8) .. seq .. sub(mark, 15, 43) .. rest)
    local suspect = bit.band(string.byte(mark, 2), 2) ~= 0
    E.move(suspect and KEYS[6] or KEYS[5], 2147483648 - open('>I4', members[i], 17), seq .. id)
    S.suspects = S.suspects or suspect
  end
  S.ready = S.ready + #ids
  write()
  return K.next_due()
end

if due and due <= now then due = promote() end
if S.opens and S.opens <= now then
  K = K or kit()
  S.limits(K).open_windows(MAX_UPKEEP)
end

-- Then jobs expire that are overdue, the earliest first.
local expired = false
if stirs then
  E = E or endings()
  expired = E.expire()
  if expired then due = K.next_due() end
end

-- 5. Reclaim leases of others that have ended, the earliest first, out of three hundred looked at.
local function reclaim(over)
  local ids, found = redis.call('ZRANGEBYSCORE', KEYS[10], '-inf', over, 'LIMIT', 0, 300), {}
  local holder, taken = holders(), 0
  E = E or endings()
  for i, mark in ipairs(redis.call('HMGET', KEYS[3], unpack(ids))) do
    local who = mark and string.sub(mark, 52, 67) or worker
    if who ~= worker then
      if taken == MAX_UPKEEP then
        more = true
        break
      end
      taken = taken + 1
      E.take_back(ids[i], mark, holder(who))
      if string.byte(mark, 19) > 127 then S.limits(K).moved(ids[i], mark, W.marks[#W.marks]) end
    end
  end
  write()
  K.follow(MAX_UPKEEP)
end

local over = now < spare and math.min(silent, now) or now
local first_lease = call('ZRANGE', LEASED, 0, 0, 'WITHSCORES')[2]
if first_lease and tonumber(first_lease) <= over then
  reclaim(over)
elseif expired then
  K.follow(MAX_UPKEEP)
end

-- 6. Claim.
local fence = math.max((tonumber(kept[2]) or 0) + 1, now)
-- What is claimed and parked: ids, members taken from the park, those of them that nobody had known, jobs with limits, stale
-- progress, tasks that are strange here, bytes, heads looked at.
local C = {ids = {}, unparked = {}, known = {}, timed = {}, stale = {}, strange = {}, bytes = 0, looked = 0,
  suspects_left = false}
local answer = {'ok', '', table.concat(settled), '', ''}
local MAX_HEADS, MAX_BYTES = 256, 4194304
-- The part of a mark that a claim sets, the same for all jobs of this call; and all of it for a job that never ran.
local HELD_BY = pack('>I8I8', now, fence) .. worker .. NONE8
local NEVER_RUN = ZERO8 .. NONE8 .. HELD_BY
local runs, priorities = {}, {}

-- Why this worker can't run the job, if it can't, and its task.
local function misfit(record)
  local sub, byte = string.sub, string.byte
  local task = sub(record, 9, 8 + byte(record, 8))
  if bit.band(byte(record, 7), 2) ~= 0 and struct.unpack('>I2', record, 9 + #task) > terms.level then
    return 'newer_program', task
  end
  if runs[task] == nil then
    runs[task] = string.find(record_of_worker, '\0' .. task .. '\0', TASKS, true) ~= nil
  end
  return not runs[task] and 'unknown_task' or rules and rules.tasks[task] and 'task_paused', task
end

local function take(id, score, mark, record)
  local sub, marks = string.sub, W.marks
  C.bytes = C.bytes + #record
  C.ids[#C.ids + 1] = id
  marks[#marks + 1] = id
  if mark then
    -- Neither delivered nor parked any more.
    local flags = bit.band(string.byte(mark, 2), 222)
    mark = 'l' .. string.char(flags) .. sub(mark, 3, 35) .. HELD_BY
    marks[#marks + 1] = mark
    if flags >= 128 then C.stale[#C.stale + 1] = 'p' .. id end
    give(answer, id, mark, record, true)
  else
    -- It is as it was taken in: its sequence is the number of its admission, and whoever has the record can tell the mark.
    local n, priority = sub(record, 1, 6), priorities[score] or struct.pack('>I4', 2147483648 - score)
    priorities[score] = priority
    marks[#marks + 1] = 'l\0' .. n .. n .. priority .. sub(record, 7, 7) .. NEVER_RUN
    answer[#answer + 1] = id
    answer[#answer + 1] = record
  end
end

-- Sets a job aside that this worker can't run.
local function park(id, seq, mark, record, reason, task)
  local sub, byte = string.sub, string.byte
  E = E or endings()
  mark = mark or K.fresh('r', record, K.read(record), seq, string.rep('\255', 8))
  local before = mark
  mark = 'r' .. string.char(K.with(byte(mark, 2), 32)) .. sub(mark, 3, 43) .. struct.pack('>I8', S.now) .. sub(mark, 52, 75)
    .. reason
  E.set_mark(id, mark)
  E.move(KEYS[7], 0, Z.park_member(id, mark, record))
  if reason == 'unknown_task' then E.move(KEYS[22], S.now, id) end
  if reason ~= 'task_paused' then C.strange[task] = true end
  if byte(mark, 19) > 127 then S.limits(K).moved(id, before, mark, record) end
end

-- A line of candidates, read a few at a time: at first few, then as many as are likely to fit into what may be claimed.
-- `fetch(line, offset, count)` sets ids, scores and members.
local R = {chunk = 32, count = 0, bytes = 0}

local function line(fetch, suspect, aside)
  return {fetch = fetch, suspect = suspect, aside = aside, popped = 0, at = 1, ids = {}}
end

-- Whether the line has a head, which then stands at `at`.
local function has_head(one)
  if one.ids[one.at] then return true end
  local call, read_bytes = redis.call, R.bytes
  one.fetch(one, one.popped, math.max(1, math.min(want - #C.ids, one.aside and one.popped + 4 or R.chunk)))
  one.at = 1
  if #one.ids == 0 then return false end
  -- There may be many lines of parked jobs: theirs are read one by one, when they are taken.
  if one.aside then return true end
  one.records, one.marks = call('HMGET', KEYS[2], unpack(one.ids)), call('HMGET', KEYS[3], unpack(one.ids))
  for _, record in ipairs(one.records) do
    read_bytes = read_bytes + #record
  end
  R.count, R.bytes = R.count + #one.ids, read_bytes
  R.chunk = math.max(1, math.min(128, math.floor(4194304 / 2 / (R.bytes / R.count))))
  return true
end

-- Ready jobs or suspects.
local function heads(key)
  return function(one, offset, count)
    local sub, ids, members, scores = string.sub, {}, {}, {}
    local found = redis.call('ZRANGE', key, offset, offset + count - 1, 'WITHSCORES')
    for i = 1, #found / 2 do
      local member = found[i * 2 - 1]
      ids[i], members[i], scores[i] = sub(member, 7), member, found[i * 2]
    end
    one.ids, one.members, one.scores = ids, members, scores
  end
end

-- Jobs that come back into line while it is read, in their order: two more lines, of which the second has suspects. Until
-- the end they are in them alone.
local back

local function returning()
  local call, sub, byte = redis.call, string.sub, string.byte

  local function nothing(one)
    one.ids, one.members, one.scores, one.records, one.marks = {}, {}, {}, {}, {}
  end

  back = {line(nothing, false, false), line(nothing, true, false)}
  nothing(back[1])
  nothing(back[2])

  -- Whether the job of this score and sequence comes before the one at a place of a line.
  local function before(score, seq, one, at)
    local other = one.scores[at]
    if not other or score ~= other then return not other or score < other end
    return seq < struct.unpack('>I6', one.members[at])
  end

  function S.put(id, mark, record)
    local suspect = bit.band(byte(mark, 2), 2) ~= 0
    local one, score, seq = back[suspect and 2 or 1], 0 - K.priority_of(mark), struct.unpack('>I6', mark, 9)
    local at = one.at
    while not before(score, seq, one, at) do
      at = at + 1
    end
    table.insert(one.ids, at, id)
    table.insert(one.members, at, sub(mark, 9, 14) .. id)
    table.insert(one.scores, at, score)
    table.insert(one.records, at, record)
    table.insert(one.marks, at, mark)
    back.changed, S.suspects = true, S.suspects or suspect
  end

  -- Puts those that are left into the lines from which all others read them.
  function back.write()
    for i, key in ipairs({KEYS[5], KEYS[6]}) do
      local one = back[i]
      for at = one.at, #one.ids do
        call('ZADD', key, one.scores[at], one.members[at])
      end
    end
  end
end

-- Takes the head of a line, or parks it, or ends it.
local function advance(one)
  local at, record, mark, reason, task = one.at, nil, nil, nil, nil
  local id = one.ids[at]
  if one.aside then
    record, mark = redis.call('HGET', KEYS[2], id), redis.call('HGET', KEYS[3], id)
  else
    record, mark = one.records[at], one.marks[at]
    reason, task = misfit(record)
  end
  local flags = string.byte(record, 7)
  if flags > 127 then
    E = E or endings()
    if not back then returning() end
  end
  if reason then
    park(id, string.sub(one.members[at], 1, 6), mark, record, reason, task)
  else
    local state, word, rule, own, limit
    if rules or flags > 31 then
      E = E or endings()
      state, word, rule = E.doom(id, mark, record)
    end
    if flags > 127 and not state then
      own = S.limits(K).own(record)
      word, limit = S.limits(K).hold_back(own)
      if word == 'full' then state = 'x' end
    end
    if flags % 64 > 31 and (state or not limit) then C.timed[#C.timed + 1] = id end
    if one.aside then
      C.unparked[#C.unparked + 1] = one.members[at]
      if string.sub(mark, 76) == 'unknown_task' then C.known[#C.known + 1] = id end
    end
    if state then
      E.dismiss(id, mark, record, state, word, rule)
    elseif limit then
      E.park(id, mark, record, word, limit)
    else
      if own then S.limits(K).start(id, own) end
      if one.suspect then suspects_wanted, S.suspects = suspects_wanted - 1, true end
      take(id, one.scores[at], mark, record)
    end
  end
  C.looked = C.looked + 1
  one.at, one.popped = at + 1, one.popped + 1
end

-- The claim where suspects or parked jobs stand beside the line.
local function claim_from_all(ready_line)
  local call, sub, open, PARKED, FAR = redis.call, string.sub, struct.unpack, KEYS[7], string.rep('\255', 30)
  local suspects_line, with_suspects = line(heads(KEYS[6]), true, false), true
  local lines = {ready_line, suspects_line}

  -- Parked jobs of one sort.
  local function set_aside(prefix)
    local from = #prefix + 1
    return function(one, offset, count)
      one.members = call('ZRANGEBYLEX', PARKED, '[' .. prefix, '[' .. prefix .. FAR, 'LIMIT', offset, count)
      one.ids, one.scores = {}, {}
      for i, member in ipairs(one.members) do
        one.ids[i], one.scores[i] = sub(member, from + 10), open('>I4', member, from) - 2147483647
      end
    end
  end

  -- Adds the lines of what is parked and this worker can run.
  local function add_parked()
    for task in string.gmatch(sub(record_of_worker, TASKS + 1), '%Z+') do
      local from = '[' .. task .. '\0'
      while not (rules and rules.tasks[task]) do
        local member = call('ZRANGEBYLEX', PARKED, from, '[' .. task .. '\0' .. FAR, 'LIMIT', 0, 1)[1]
        if not member then break end
        local prefix = sub(member, 1, -27)
        if open('>I2', prefix, #task + 2) <= terms.level then
          lines[#lines + 1] = line(set_aside(prefix), sub(prefix, -1) == '1', true)
        end
        from = '(' .. prefix .. FAR
      end
    end
  end

  -- The lines are a heap by their heads: the first one's comes before all others.
  local function before(one, other)
    return one.score < other.score or one.score == other.score and one.seq < other.seq
  end

  -- Whether the line has a head; then its place is known.
  local function see(one)
    if not has_head(one) then return false end
    local member = one.members[one.at]
    one.score, one.seq = tonumber(one.scores[one.at]), open('>I6', member, #member - 21)
    return true
  end

  local function rebuild(all)
    lines = {}
    for _, one in ipairs(all) do
      if see(one) then lines[#lines + 1] = one end
    end
    table.sort(lines, before)
  end

  -- Puts the first line where it belongs after its head has gone.
  local function settle_first()
    if not see(lines[1]) then
      lines[1] = lines[#lines]
      lines[#lines] = nil
    end
    local at = 1
    while true do
      local least = at
      for child = at * 2, math.min(at * 2 + 1, #lines) do
        if before(lines[child], lines[least]) then least = child end
      end
      if least == at then return end
      lines[at], lines[least] = lines[least], lines[at]
      at = least
    end
  end

  -- Parks the suspects that can't be run here and stand before the first that can.
  local function skip_strangers()
    while C.looked < MAX_HEADS and has_head(suspects_line) and misfit(suspects_line.records[suspects_line.at]) do
      advance(suspects_line)
    end
  end

  -- Goes on without suspects, having looked whether one is left.
  local function drop_suspects()
    local others = {}
    for _, one in ipairs(lines) do
      if one.suspect then
        C.suspects_left = true
      else
        others[#others + 1] = one
      end
    end
    with_suspects = false
    rebuild(others)
  end

  -- Whether the head of a line would run as a suspect.
  local function is_suspect(one)
    if not one.suspect then return false end
    local id, record = one.ids[one.at], one.records and one.records[one.at]
    if record and misfit(record) then return false end
    E = E or endings()
    return not E.doom(id, call('HGET', KEYS[3], id), record or call('HGET', KEYS[2], id))
  end

  -- The line whose head comes first, with those of the jobs that have come back meanwhile.
  local function first_line()
    if not (back and back.changed) then return lines[1] end
    back.changed = false
    for i = 1, with_suspects and 2 or 1 do
      local at = #lines + 1
      for place, one in ipairs(lines) do
        if one == back[i] then at = place end
      end
      if see(back[i]) then lines[at] = back[i] end
      local parent = math.floor(at / 2)
      while parent > 0 and lines[at] and before(lines[at], lines[parent]) do
        lines[at], lines[parent] = lines[parent], lines[at]
        at, parent = parent, math.floor(parent / 2)
      end
    end
    return lines[1]
  end

  add_parked()
  skip_strangers()
  rebuild(lines)
  if back then back.changed = true end
  while first_line() and #C.ids < want and C.looked < MAX_HEADS and C.bytes < MAX_BYTES do
    local one = lines[1]
    if suspects_wanted == 0 and is_suspect(one) then
      drop_suspects()
    else
      advance(one)
      if one == suspects_line then skip_strangers() end
      settle_first()
    end
  end
  if suspects_wanted == 0 then drop_suspects() end
  more = more or #C.ids < want and first_line() ~= nil
  if suspects_line.popped > 0 then call('ZREMRANGEBYRANK', KEYS[6], 0, suspects_line.popped - 1) end
  if #C.unparked > 0 then call('ZREM', PARKED, unpack(C.unparked)) end
end

-- How many more may start, and how many it would claim.
local room, wanted = rules and rules.room(paid), math.min(want, 256)
if want > 0 and not (rules and rules.paused) then
  want = math.min(want, room or 256, 256)
  local ready_line = line(heads(READY), false, false)
  if call('EXISTS', SUSPECTS, PARKED) > 0 then
    claim_from_all(ready_line)
  else
    while #C.ids < want and C.looked < MAX_HEADS and C.bytes < MAX_BYTES and not (back and back.changed)
      and has_head(ready_line) do
      advance(ready_line)
    end
    if back and back.changed then
      claim_from_all(ready_line)
    else
      more = more or #C.ids < want and has_head(ready_line)
    end
  end
  if ready_line.popped > 0 then call('ZREMRANGEBYRANK', READY, 0, ready_line.popped - 1) end
  if back then back.write() end
  local leases = {}
  for i, id in ipairs(C.ids) do
    leases[i * 2 - 1], leases[i * 2] = lease_end, id
  end
  if #leases > 0 then call('ZADD', LEASED, unpack(leases)) end
  if #C.known > 0 then call('ZREM', STRANGERS, unpack(C.known)) end
  if #C.timed > 0 then call('ZREM', EXPIRING, unpack(C.timed)) end
  if #C.stale > 0 then call('HDEL', NOTES, unpack(C.stale)) end
  write()
end
S.put = nil
if rules then
  rules.write()
  room = room - #C.ids
  if rules.rate and #C.ids > 0 then
    paid = rules.pay(paid, #C.ids)
    call('HSET', META, 'paid', string.format('%.0f', paid))
  end
end
if S.limiter then S.limiter.flush() end

-- 7. Sleep, and wake others for what is left.
-- A worker that is paused does not sleep in the line of those that a job wakes, and is told by whoever resumes it.
local sleeps, look = #C.ids < wanted and ear ~= '' and not more and not (rules and rules.worker), 0
if not more then
  S.expiring = call('EXISTS', FOLLOW, EXPIRING) > 0
  more = S.expiring and call('EXISTS', FOLLOW) == 1
end
if not more then
  if S.due then due = math.min(due or S.due, S.due) end
  -- Who sleeps behind eight others comes a second after the due time, in case those are all dead, and not with them.
  if due and due > now and sleeps and call('ZCARD', SLEEPERS) >= 8 then due = due + 1000000 end
  look = look_again(due)
end

-- Wakes sleepers: for what is ready or due sooner, and for what was parked those that know the task. For suspects only
-- when one of them moved, and then many: who sleeps may not be allowed another. Woken by whoever leaves one, workers that
-- are not allowed any would wake each other for ever.
local function wake_others()
  local call, sub, SLEEPERS = redis.call, string.sub, KEYS[19]
  K = K or kit()
  local left = call('ZCARD', KEYS[5]) + (S.suspects and call('EXISTS', KEYS[6]) * 8 or 0)
  K.wake_for(room and math.min(left, room) or left)
  for _, sleeper in ipairs(next(C.strange) and call('ZRANGE', SLEEPERS, 0, 255) or {}) do
    local record = call('HGET', KEYS[1], 'w:' .. sub(sleeper, 27))
    for task in pairs(record and C.strange or {}) do
      if string.find(record, '\0' .. task .. '\0', TASKS, true) then
        call('ZREM', SLEEPERS, sleeper)
        call(ARGV[2], sub(KEYS[1], 1, -5) .. 'ear:' .. sub(sleeper, 1, 26), 'w' .. sub(sleeper, 27))
        break
      end
    end
  end
end

-- Nobody is woken for what is paused: those would wake each other for ever.
if not (rules and rules.queue) and call('EXISTS', SLEEPERS) == 1 then wake_others() end
if sleeps then call('ZADD', SLEEPERS, now, ear .. worker) end

local hears_by = sleeps and ear or wanted == 0 and asleep
local memory = pack('>I8I8', number, fence) .. (hears_by and '\1' .. hears_by or rep('\0', 27)) .. pack('>I2', #settled)
  .. answer[3] .. table.concat(C.ids)
call('HSET', META, 'seq', S.sequence, 'seen', now, 'n:' .. worker, memory)
if #C.ids > 0 then call('HSET', META, 'fence', fence) end
call('ZADD', IDLE, now, 'w:' .. worker)
finish(K)
answer[2] = head_of(fence, look, C.suspects_left)
answer[5] = table.concat(S.died)
for task in pairs(C.strange) do
  answer[4] = answer[4] .. task .. '\0'
end
return answer
