-- Takes jobs in, whoever brings them: `ids`, of each in `parts` the part of its record that the caller makes, and how many
-- they are, `count`. Leaves in `answers` what became of each, `admit` if any was not plain, how many were `admitted`, and
-- `is_first` if the shard had never taken a job in; whoever brought them writes the sequence and wakes sleepers.
local stored = count > 0 and call('HMGET', JOBS, unpack(ids)) or ids
-- When they were taken in, as the ends of records, by when their ids were made: mostly the same.
local stamps = {}

local function stamp(made)
  local delay = S.now - struct.unpack('>I6', made) * 1000
  local fits = delay >= 0 and delay < 4294967295
  stamps[made] = fits and struct.pack('>I4', delay) or struct.pack('>I8I4', S.now, 4294967295)
  return stamps[made]
end

-- What is written together in the end: records, places in the lines, edges, marks of jobs that wait or are waited for,
-- by when they expire, those parked for a slot. `here` has the records of this call by id, `admitted` their ids and `numbered` their numbers, in
-- their order.
local W = {records = {}, places = {}, due = {}, readers = {}, open = {}, marks = {}, limits = {}, expiring = {},
  blocked = {}}
local here, admitted, numbered, answers = {}, {}, {}, {}

local function write()
  local call = redis.call
  if #W.records > 0 then call('HSET', JOBS, unpack(W.records)) end
  if #W.places > 0 then call('ZADD', READY, unpack(W.places)) end
  if #W.due > 0 then call('ZADD', DELAYED, unpack(W.due)) end
  if #W.limits > 0 then call('HSET', NOTES, unpack(W.limits)) end
  if #W.expiring > 0 then call('ZADD', KEYS[21], unpack(W.expiring)) end
  if #W.blocked > 0 then call('ZADD', KEYS[24], unpack(W.blocked)) end
  -- Two calls: one could have more arguments than fit.
  if #W.readers > 0 then call('ZADD', EDGES, unpack(W.readers)) end
  if #W.open > 0 then call('ZADD', EDGES, unpack(W.open)) end
  if next(W.marks) then
    local fields = {}
    for id, mark in pairs(W.marks) do
      fields[#fields + 1], fields[#fields + 2] = id, mark
    end
    call('HSET', MARKS, unpack(fields))
  end
end

-- How jobs are taken in that are not plain: twins of stored ones, or with a priority, a time, or others to wait for, or what
-- holds them back.
local function particular()
  local call, sub, byte, char, rep, pack, open = redis.call, string.sub, string.byte, string.char, string.rep, struct.pack,
    struct.unpack
  local K = kit()
  local MARKS, JOBS, now = KEYS[3], KEYS[2], S.now
  local NONE8, ZERO6, ZERO8, ZERO16 = rep('\255', 8), rep('\0', 6), rep('\0', 8), rep('\0', 16)

  -- The state and mark of a stored job; `record` is asked for it where it has no mark.
  local function look(id, record)
    local mark = W.marks[id] or call('HGET', MARKS, id)
    if mark then return sub(mark, 1, 1), mark end
    record = record or call('HGET', JOBS, id)
    if not record then return end
    mark = K.unmarked(id, record)
    return sub(mark, 1, 1), mark
  end

  -- Notes the limits of a job, counted from a time; one that has ended is not to expire.
  local function limit(id, job, from, has_ended)
    if not job.limits then return end
    local limits = K.limits_from(job, from)
    W.limits[#W.limits + 1], W.limits[#W.limits + 2] = 'l' .. id, limits
    local at = not has_ended and K.overdue(limits)
    if not at then return end
    K.comes_over(at)
    W.expiring[#W.expiring + 1], W.expiring[#W.expiring + 2] = at, id
  end

  -- Marks of jobs that others of this call wait for, looked up once.
  local awaited, T = {}, nil

  -- The first of those it waits for that is not there.
  local function missing(parents)
    for _, parent in ipairs(parents) do
      if not awaited[parent] then
        local _, mark = look(parent, here[parent])
        if not mark then return parent end
        awaited[parent] = mark
      end
    end
  end

  -- Takes in a job that waits. Answers the state it then has.
  local function wait(id, seq, job, record)
    T = T or S.edges(K)
    local mark = 'w\0' .. seq .. ZERO6 .. pack('>I4', job.priority + 2147483648) .. char(job.flags) .. ZERO8 .. NONE8 .. NONE8
      .. T.waiting(job)
    local how, other, word = T.outcome(job, awaited)
    T.tie(id, job.parents, awaited, how, word, W.readers, W.open)
    for parent, changed in pairs(T.hold(job.parents, awaited, word)) do
      W.marks[parent] = changed
    end
    if how ~= 'r' or job.node == 'g' then limit(id, job, job.node == 'h' and now or nil, how ~= 'w') end
    if how == 'r' then return T.reach(id, mark, record) end
    if how == 'x' then
      local culprit = word == 'dependency' and T.origin(other, awaited[other]) or ZERO16
      return T.cancel(id, mark, word, culprit, awaited[other], true, record)
    end
    W.marks[id] = mark
    return 'w'
  end

  local has_asked

  -- Asks who owns the unique keys of this call, all at once.
  local function ask_for_owners()
    local keys, asked = {}, {}
    for i = 1, count do
      local part = parts[i]
      local unique = byte(part) > 127 and S.limits(K).own(ZERO6 .. part).unique
      if unique and not asked[unique.key] then keys[#keys + 1], asked[unique.key] = unique.key, true end
    end
    S.limits(K).ask(keys)
    has_asked = true
  end

  -- Writes what is gathered, for a job of it is to be changed.
  local function write_so_far()
    write()
    W = {records = {}, places = {}, due = {}, readers = {}, open = {}, marks = {}, limits = {}, expiring = {}, blocked = {}}
    awaited = {}
  end

  -- Has the owner of a unique key take over what is new. Answers its state.
  local function replace(owner, job, record, conflict)
    write_so_far()
    local Z = enders(K)
    local tail = #record - #(stamps[sub(job.id, 1, 6)])
    local change = {envelope = sub(record, job.envelope, tail)}
    if conflict == 'p' then change.priority = job.priority else change.kind, change.value = job.kind, job.value end
    local _, mark = look(owner)
    return editors(K, Z).edit(owner, mark, call('HGET', JOBS, owner), change)
  end

  -- What becomes of a job whose unique key another holds; nothing if nobody does.
  local function keep_out(job, unique, record)
    local owner = S.limits(K).owner(unique.key)
    if not owner then return end
    local state = look(owner, here[owner])
    local conflict = unique.conflict
    if conflict == 'r' then return '!' .. owner .. (state or '-') end
    if conflict == 'e' or not state or state == 'l' or K.is_end(state) then return '=' .. owner .. (state or '-') end
    return '~' .. owner .. replace(owner, job, record, conflict)
  end

  local function admit(id, part, twin)
    if twin then return string.upper((look(id, twin))) end
    local seq = pack('>I6', S.sequence + 1)
    local made = sub(id, 1, 6)
    local record = seq .. part .. (stamps[made] or stamp(made))
    local job = K.read(record)
    local absent = job.parents and missing(job.parents)
    if absent then return '?' .. absent end
    local own = job.keys and S.limits(K).own(record)
    if own and own.unique then
      if not has_asked then ask_for_owners() end
      job.id = id
      local kept_out = keep_out(job, own.unique, record)
      if kept_out then return kept_out end
      S.limits(K).claim_key(own.unique, id)
    end
    S.sequence = S.sequence + 1
    here[id], admitted[#admitted + 1], numbered[#numbered + 1] = record, id, S.sequence
    local records, due = W.records, K.moment(job.kind, job.value)
    records[#records + 1], records[#records + 2] = id, record
    if job.parents and (#job.parents > 0 or job.node ~= 't') then return wait(id, seq, job, record) end
    limit(id, job, due)
    if job.kind ~= 'n' and due > now then
      K.comes_due(due)
      W.due[#W.due + 1] = due
      W.due[#W.due + 1] = id .. pack('>I4', job.priority + 2147483648) .. seq .. char(job.flags)
      return 's'
    end
    local full = own and S.limits(K).full_for(own)
    if full then
      local mark = K.fresh('r', record, job, seq, job.kind ~= 'n' and pack('>I8', due) or NONE8)
      W.marks[id] = S.limits(K).parked(mark, 'limit_full', full)
      W.blocked[#W.blocked + 1] = 0
      W.blocked[#W.blocked + 1] = select(2, S.limits(K).place(id, W.marks[id]))
      return 'r'
    end
    W.places[#W.places + 1], W.places[#W.places + 2] = 0 - job.priority, seq .. id
    S.ready = S.ready + 1
    if job.kind ~= 'n' then call('HSET', MARKS, id, K.fresh('r', record, job, seq, pack('>I8', due))) end
    return 'r'
  end

  return admit
end

local admit
for i = 1, count do
  local id, part = ids[i], parts[i]
  local twin = stored[i] or here[id]
  if twin or byte(part) > 3 then
    admit = admit or particular()
    answers[i] = admit(id, part, twin)
  else
    local n, places, records = S.sequence + 1, W.places, W.records
    local seq = pack('>I6', n)
    local made = sub(id, 1, 6)
    local record = seq .. part .. (stamps[made] or stamp(made))
    S.sequence, S.ready = n, S.ready + 1
    here[id], admitted[#admitted + 1], numbered[#numbered + 1] = record, id, n
    records[#records + 1] = id
    records[#records + 1] = record
    places[#places + 1] = '0'
    places[#places + 1] = seq .. id
    answers[i] = 'r'
  end
end
write()

local is_first

-- Notes in which order they came: each id goes to the block of its number.
if #admitted > 0 then
  local numbers, first = {}, {}
  for i = 1, #admitted do
    local block = math.floor(numbered[i] / BLOCK)
    if numbers[#numbers] ~= block then
      numbers[#numbers + 1], first[#first + 1] = block, i
    end
  end
  local before, fields, new = call('HMGET', BLOCKS, unpack(numbers)), {}, {}
  for i, block in ipairs(numbers) do
    local to = (first[i + 1] or #admitted + 1) - 1
    local old = before[i] or '\0'
    fields[i * 2 - 1] = block
    fields[i * 2] = string.char(byte(old) + to - first[i] + 1) .. sub(old, 2) .. table.concat(admitted, '', first[i], to)
    if not before[i] then new[#new + 1], new[#new + 2] = block, block end
  end
  call('HSET', BLOCKS, unpack(fields))
  if #new > 0 then call('ZADD', INDEX, unpack(new)) end
  is_first = call('HINCRBY', META, 'enqueued', #admitted) == #admitted
end
