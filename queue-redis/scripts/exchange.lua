-- Settles and claims, in one step: the exchange of the contract, step by step.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 worker (16 bytes), 4 number, 5 how many jobs it wants, 6 how many of them may be
--       suspects, 7 the ear by which its process listens (26 characters) or nothing; then for each settlement a head (id 16,
--       fence 8, attempts 4, kind 1, kind of time 1, time 8) and a body. Kinds: c completed, C completed with the result
--       that is the body, t retry, s snooze, l release, d die. The time is when it is due, or how long its end is kept.
--       The body of t is the failure; that of d the length of its reason (1), the reason, the failure.
-- Returns  `ok`, a head (now 8, fence 8, end of the leases 8, look again after 8, suspects left 1), one `1` or `0` for each
--       settlement, the tasks parked with a NUL after each, and for each job claimed its id and mark (the id alone if it is as it was
--       taken in), its record, its failure
--       if its mark says that it has one, and the result of each job it waited for; or `unknown`; or `superseded` and the number that came first.
-- Cost  11 commands, 6 more to settle and 8 more to claim, and for each job settled or claimed one member of some variadic
--       ones; 2 for each parked job claimed and for each task of which some are parked. At most 256 settlements, 200 edges,
--       100 promotions, 100 reclaims out of 300 leases looked at, 256 claims out of 256 heads, 4 MiB of envelopes.
local worker, number, want, suspects_wanted, ear = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local kept = call('HMGET', META, 'seq', 'fence', 'seen', 'spare', 'silent', 'back', 'w:' .. worker, 'n:' .. worker)
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
local K, more = nil, false

-- After how long another look is worth while, given the earliest due time.
local function look_again(due)
  local call, LEASED, now, ends = redis.call, KEYS[10], S.now, nil
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

-- What a claimed job with a mark is answered with: id and mark, record, its last failure, results of those it waited for.
local function give(answer, id, mark, record)
  local call, byte, band = redis.call, string.byte, bit.band
  answer[#answer + 1] = id .. mark
  answer[#answer + 1] = record
  if band(byte(mark, 2), 8) ~= 0 then
    answer[#answer + 1] = call('HGET', KEYS[4], 'f' .. id)
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
  local settled_count = open('>I2', last, 44)
  local answer, fence = {'ok', '', sub(last, 46, 45 + settled_count), ''}, pack('>I8', last_fence) .. worker
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

-- The time to which an end is kept, and the end of a mark that says so, by how long: mostly the same for all of a call.
local keeps = {}

local function kept_for(duration)
  local keep = keeps[duration]
  if not keep then
    local keep_until = math.min(S.now + struct.unpack('>I8', duration), 9007199254740992)
    keep = {string.format('%.0f', keep_until), struct.pack('>I8', S.now) .. string.rep('\0', 16) .. struct.pack('>I8', keep_until)}
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
  local DELIVERED, SUSPECT, HELD, FAILED, RESULT, MAX_LAPSES, now = 1, 2, 4, 8, 16, 10, S.now
  local REST = string.rep('\0', 24) .. string.rep('\255', 8)
  K = K or kit()

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

  -- The flags of an end, a retry or a snooze: nobody holds it, and whatever was suspected is cleared.
  local function calm(mark)
    return K.without(K.without(byte(mark, 2), DELIVERED), SUSPECT)
  end

  local function finally(id, mark, attempts, duration, state, flags, word)
    local keep = kept_for(duration)
    local ended = state .. char(flags) .. sub(mark, 3, 19) .. attempts .. sub(mark, 24, 43) .. keep[2] .. word
    E.set_mark(id, ended)
    if band(flags, HELD) ~= 0 or byte(mark, 19) >= 16 then return K.close(id, ended) end
    S.ends[state] = (S.ends[state] or 0) + 1
    S.told[#S.told + 1] = id
    E.move((state == 'c' and band(flags, RESULT) == 0) and TRACES or KEPT, keep[1], id)
    if state == 'd' then E.move(DEAD, now, id) end
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
    if kind == 'c' then
      finally(id, mark, attempts, duration, 'c', calm(mark), '')
    elseif kind == 'C' then
      set_note('r', id, body)
      finally(id, mark, attempts, duration, 'c', K.with(calm(mark), RESULT), '')
    elseif kind == 't' then
      set_note('f', id, body)
      later(id, mark, head, 't', RETRYING, K.with(calm(mark), FAILED))
    elseif kind == 's' then
      later(id, mark, head, 's', DELAYED, calm(mark))
    elseif kind == 'l' then
      again(id, mark, K.without(byte(mark, 2), DELIVERED), attempts)
    else
      local length = byte(body)
      set_note('f', id, sub(body, 2 + length))
      finally(id, mark, attempts, duration, 'd', K.with(calm(mark), FAILED), sub(body, 2, 1 + length))
    end
  end

  local function is_delivered(mark, one, at_most_once)
    local fence = open('>I8', mark, 44)
    if not at_most_once and (not one.known or fence <= one.void) then return false end
    return band(byte(mark, 2), DELIVERED) ~= 0 or fence < math.max(one.fence, one.void)
  end

  -- Takes the lease of a job back from its holder.
  function E.take_back(id, mark, one)
    local at_most_once = band(byte(mark, 19), 1) ~= 0
    local delivered = is_delivered(mark, one, at_most_once)
    local crashes, lapses = open('>I2I2', mark, 24)
    local flags, reason, times = K.without(byte(mark, 2), DELIVERED), nil, nil
    if not delivered then
      lapses = math.min(lapses + 1, 65535)
      if one.limit > 0 and lapses >= MAX_LAPSES then reason, times = 'crashed', lapses end
    elseif at_most_once then
      reason, times = 'interrupted', 1
    else
      crashes = math.min(crashes + 1, 65535)
      flags, times = K.with(flags, SUSPECT), crashes
      if one.limit > 0 and crashes >= one.limit then reason = 'crashed' end
    end
    if times then
      flags = K.with(flags, FAILED)
      set_note('f', id, '\0' .. (delivered and '1' or '0') .. pack('>I4', times) .. sub(mark, 52, 67))
    end
    mark = sub(mark, 1, 23) .. pack('>I2I2', crashes, lapses) .. sub(mark, 28)
    W.freed[#W.freed + 1] = id
    if reason then
      finally(id, mark, sub(mark, 20, 23), pack('>I8', one.keep), 'd', flags, reason)
    else
      again(id, mark, flags, sub(mark, 20, 23))
    end
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
      settled[i] = '1'
      freed[#freed + 1] = id
      -- What most come to, before all else: completed without a result, nobody suspects it and nothing hangs on it.
      if byte(head, 29) == 99 and byte(mark, 2) < 2 and byte(mark, 19) < 16 then
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
        E.settle(id, mark, head, ARGV[7 + i * 2])
      end
    end
  end
  if count > 0 then S.ends.c = (S.ends.c or 0) + count end
  write()
end

-- 3. Follow.
if call('EXISTS', FOLLOW) == 1 then
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
      if score and (not best or score < earliest) then best, earliest = source, score end
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
    E.move(KEYS[5], 2147483648 - open('>I4', members[i], 17), seq .. id)
  end
  S.ready = S.ready + #ids
  write()
  return K.next_due()
end

if due and due <= now then due = promote() end

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
    end
  end
  write()
  K.follow(MAX_UPKEEP)
end

local over = now < spare and math.min(silent, now) or now
local first_lease = call('ZRANGE', LEASED, 0, 0, 'WITHSCORES')[2]
if first_lease and tonumber(first_lease) <= over then reclaim(over) end

-- 6. Claim.
local fence = math.max((tonumber(kept[2]) or 0) + 1, now)
-- What is claimed and parked: ids, members taken from the park, tasks that are strange here, bytes, heads looked at.
local C = {ids = {}, unparked = {}, strange = {}, bytes = 0, looked = 0, suspects_left = false}
local answer = {'ok', '', table.concat(settled), ''}
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
    runs[task] = string.find(record_of_worker, '\0' .. task .. '\0', 31, true) ~= nil
  end
  return not runs[task] and 'unknown_task', task
end

local function take(id, score, mark, record)
  local sub, marks = string.sub, W.marks
  C.bytes = C.bytes + #record
  C.ids[#C.ids + 1] = id
  marks[#marks + 1] = id
  if mark then
    -- Neither delivered nor parked any more.
    local flags = string.char(bit.band(string.byte(mark, 2), 222))
    mark = 'l' .. flags .. sub(mark, 3, 35) .. HELD_BY
    marks[#marks + 1] = mark
    give(answer, id, mark, record)
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
local function park(id, seq, score, mark, record, reason, task)
  local sub, byte, band = string.sub, string.byte, bit.band
  E = E or endings()
  mark = mark or K.fresh('r', record, K.read(record), seq, string.rep('\255', 8))
  local needs = band(byte(record, 7), 2) ~= 0 and sub(record, 9 + #task, 10 + #task) or '\0\1'
  E.set_mark(id, 'r' .. string.char(K.with(byte(mark, 2), 32)) .. sub(mark, 3, 75) .. reason)
  E.move(KEYS[7], 0, task .. '\0' .. needs .. (band(byte(mark, 2), 2) ~= 0 and '1' or '0')
    .. struct.pack('>I4', 2147483647 + score) .. seq .. id)
  C.strange[task] = true
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

-- Takes the head of a line, or parks it.
local function advance(one)
  local at, record, mark, reason, task = one.at, nil, nil, nil, nil
  local id, score = one.ids[at], one.scores[at]
  if one.aside then
    record, mark = redis.call('HGET', KEYS[2], id), redis.call('HGET', KEYS[3], id)
  else
    record, mark = one.records[at], one.marks[at]
    reason, task = misfit(record)
  end
  if reason then
    park(id, string.sub(one.members[at], 1, 6), score, mark, record, reason, task)
  else
    if one.aside then C.unparked[#C.unparked + 1] = one.members[at] end
    if one.suspect then suspects_wanted, S.suspects = suspects_wanted - 1, true end
    take(id, score, mark, record)
  end
  C.looked = C.looked + 1
  one.at, one.popped = at + 1, one.popped + 1
end

-- The claim where suspects or parked jobs stand beside the line.
local function claim_from_all(ready_line)
  local call, sub, open, PARKED, FAR = redis.call, string.sub, struct.unpack, KEYS[7], string.rep('\255', 30)
  local suspects_line = line(heads(KEYS[6]), true, false)
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
    for task in string.gmatch(sub(record_of_worker, 32), '%Z+') do
      local from = '[' .. task .. '\0'
      while true do
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
    rebuild(others)
  end

  add_parked()
  skip_strangers()
  rebuild(lines)
  while lines[1] and #C.ids < want and C.looked < MAX_HEADS and C.bytes < MAX_BYTES do
    local one = lines[1]
    if one.suspect and suspects_wanted == 0 then
      drop_suspects()
    else
      advance(one)
      if one == suspects_line then skip_strangers() end
      settle_first()
    end
  end
  if suspects_wanted == 0 then drop_suspects() end
  more = more or #C.ids < want and lines[1] ~= nil
  if suspects_line.popped > 0 then call('ZREMRANGEBYRANK', KEYS[6], 0, suspects_line.popped - 1) end
  if #C.unparked > 0 then call('ZREM', PARKED, unpack(C.unparked)) end
end

if want > 0 then
  want = math.min(want, 256)
  local ready_line = line(heads(READY), false, false)
  if call('EXISTS', SUSPECTS, PARKED) > 0 then
    claim_from_all(ready_line)
  else
    while #C.ids < want and C.looked < MAX_HEADS and C.bytes < MAX_BYTES and has_head(ready_line) do
      advance(ready_line)
    end
    more = more or #C.ids < want and has_head(ready_line)
  end
  if ready_line.popped > 0 then call('ZREMRANGEBYRANK', READY, 0, ready_line.popped - 1) end
  local leases = {}
  for i, id in ipairs(C.ids) do
    leases[i * 2 - 1], leases[i * 2] = lease_end, id
  end
  if #leases > 0 then call('ZADD', LEASED, unpack(leases)) end
  write()
end

-- 7. Sleep, and wake others for what is left.
local sleeps, look = #C.ids < want and ear ~= '' and not more, 0
if not more and call('EXISTS', FOLLOW) == 0 then
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
  K.wake_for(call('ZCARD', KEYS[5]) + (S.suspects and call('EXISTS', KEYS[6]) * 8 or 0))
  for _, sleeper in ipairs(next(C.strange) and call('ZRANGE', SLEEPERS, 0, 255) or {}) do
    local record = call('HGET', KEYS[1], 'w:' .. sub(sleeper, 27))
    for task in pairs(record and C.strange or {}) do
      if string.find(record, '\0' .. task .. '\0', 31, true) then
        call('ZREM', SLEEPERS, sleeper)
        call(ARGV[2], sub(KEYS[1], 1, -5) .. 'ear:' .. sub(sleeper, 1, 26), 'w' .. sub(sleeper, 27))
        break
      end
    end
  end
end

if call('EXISTS', SLEEPERS) == 1 then wake_others() end
if sleeps then call('ZADD', SLEEPERS, now, ear .. worker) end

local hears_by = sleeps and ear or want == 0 and asleep
local memory = pack('>I8I8', number, fence) .. (hears_by and '\1' .. hears_by or rep('\0', 27)) .. pack('>I2', #settled)
  .. answer[3] .. table.concat(C.ids)
call('HSET', META, 'seq', S.sequence, 'seen', now, 'n:' .. worker, memory)
if #C.ids > 0 then call('HSET', META, 'fence', fence) end
call('ZADD', IDLE, now, 'w:' .. worker)
finish(K)
answer[2] = head_of(fence, look, C.suspects_left)
for task in pairs(C.strange) do
  answer[4] = answer[4] .. task .. '\0'
end
return answer
