-- Checks one shard against itself, key by key; changes nothing.
--
-- KEYS  the shard's `meta`, which names the others.
-- Returns  what is wrong, up to twenty lines; nothing else.
local prefix = string.sub(KEYS[1], 1, -5)
local call, sub, byte, open = redis.call, string.sub, string.byte, struct.unpack
local wrongs = {}

local function hex(bytes)
  return (string.gsub(bytes, '.', function(c) return string.format('%02x', byte(c)) end))
end

local function wrong(what, bytes)
  if #wrongs < 20 then wrongs[#wrongs + 1] = what .. ': ' .. hex(bytes or '') end
end

local function has(flags, flag)
  return math.floor(flags / flag) % 2 == 1
end

local function map(key)
  local all, found = {}, call('HGETALL', prefix .. key)
  for i = 1, #found, 2 do
    all[found[i]] = found[i + 1]
  end
  return all
end

local function size(all)
  local count = 0
  for _ in pairs(all) do
    count = count + 1
  end
  return count
end

local jobs, marks = map('jobs'), map('marks')

-- 1. Each line: its members by job, and no job in two of them.
local place, score, found_seq, found_priority, found_key = {}, {}, {}, {}, {}

local function walk(key, read)
  local members = call('ZRANGE', prefix .. key, 0, -1, 'WITHSCORES')
  for i = 1, #members, 2 do
    local id, seq, priority, of = read(members[i])
    if place[id] then wrong('in ' .. place[id] .. ' and in ' .. key, id) end
    if not jobs[id] then wrong('in ' .. key .. ' and not stored', id) end
    place[id], score[id], found_seq[id], found_priority[id] = key, tonumber(members[i + 1]), seq, priority
    found_key[id] = of
  end
end

local function by_sequence(member) return sub(member, 7), sub(member, 1, 6) end
local function by_time(member) return sub(member, 1, 16), nil, sub(member, 17, 20) end
local function by_id(member) return member end

walk('ready', by_sequence)
walk('suspects', by_sequence)
local function by_key(member) return sub(member, -16), sub(member, -22, -17), nil, string.match(member, '^(%Z*)') end
walk('parked', by_key)
walk('blocked', by_key)
walk('throttled', by_key)
walk('outbox', by_sequence)
walk('delayed', by_time)
walk('retrying', by_time)
walk('leased', by_id)
local live = size(place)
walk('traces', by_id)
walk('kept', by_id)
local dead = call('ZRANGE', prefix .. 'dead', 0, -1)

-- 2. Each job is where its mark says, or where it was taken in while it has none.
local LINES = {s = 'delayed', t = 'retrying', l = 'leased'}

local function is_end(state)
  return state == 'c' or state == 'x' or state == 'e' or state == 'd'
end

local function where(mark)
  local state, flags = sub(mark, 1, 1), byte(mark, 2)
  if state == 'w' then return nil end
  if state == 'r' and has(flags, 32) then
    local word = string.match(sub(mark, 76), '^(%Z*)')
    local lines = {limit_full = 'blocked', rate_window = 'throttled', outbox = 'outbox'}
    return lines[word] or 'parked'
  end
  if state == 'r' then return has(flags, 2) and 'suspects' or 'ready' end
  if not is_end(state) then return LINES[state] or 'a state that there is not' end
  if has(flags, 4) then return nil end
  return (state == 'c' and not has(flags, 16)) and 'traces' or 'kept'
end

local function check_numbers(id, mark)
  local is, priority = place[id], open('>I4', mark, 15) - 2147483648
  if (is == 'ready' or is == 'suspects') and score[id] ~= 0 - priority then wrong('priority in ' .. is, id) end
  if found_seq[id] and found_seq[id] ~= sub(mark, 9, 14) then wrong('sequence in ' .. is, id) end
  if found_priority[id] and found_priority[id] ~= sub(mark, 15, 18) then wrong('priority in ' .. is, id) end
  if (is == 'delayed' or is == 'retrying') and score[id] ~= open('>I8', mark, 28) then wrong('due time', id) end
  if (is == 'traces' or is == 'kept') and score[id] ~= open('>I8', mark, 68) then wrong('end of keep', id) end
end

-- Jobs by the key for which they are parked, the first of each; found later.
local parked_for = {blocked = {}, throttled = {}}

local function check_key(id, mark)
  local park = parked_for[place[id]]
  if not park then return end
  local key = string.match(sub(mark, 76), '%z(%Z*)$')
  if found_key[id] ~= key then wrong(place[id] .. ' under another key', id) end
  park[key] = true
end

local stored, waiting = {c = 0, x = 0, e = 0, d = 0}, 0
for id in pairs(jobs) do
  local mark = marks[id]
  if mark then
    local state = sub(mark, 1, 1)
    if place[id] ~= where(mark) then wrong(state .. ' but in ' .. (place[id] or 'no line'), id) end
    check_numbers(id, mark)
    check_key(id, mark)
    if is_end(state) then stored[state] = stored[state] + 1 end
    if state == 'w' then waiting = waiting + 1 end
  elseif place[id] ~= 'ready' and place[id] ~= 'delayed' then
    wrong('without a mark in ' .. (place[id] or 'no line'), id)
  end
end

local dead_marks = 0
for id, mark in pairs(marks) do
  if not jobs[id] then wrong('a mark of a job that is not stored', id) end
  if byte(mark) == 100 then dead_marks = dead_marks + 1 end
end
for _, id in ipairs(dead) do
  if not marks[id] or byte(marks[id]) ~= 100 then wrong('among the dead', id) end
end
if #dead ~= dead_marks then wrong('not all the dead are among the dead') end

-- 3. Notes, interest, edges, and what is still to follow belong to jobs that are there.
local FLAGS, notes = {f = 8, r = 16, h = 128, p = 128}, map('notes')
for note in pairs(notes) do
  local kind, id = sub(note, 1, 1), sub(note, 2)
  local flag, mark = FLAGS[kind], marks[id]
  local noted = jobs[id] and (kind == 'l' and has(byte(jobs[id], 7), 32) or mark and flag and has(byte(mark, 2), flag))
  if not noted then wrong('a note that no job has', note) end
end
for id, mark in pairs(marks) do
  local flags, is_running = byte(mark, 2), byte(mark) == 108
  if has(flags, 8) and not notes['f' .. id] then wrong('without its failure', id) end
  if has(flags, 128) and not notes['h' .. id] and not notes['p' .. id] then wrong('without its history', id) end
  if (has(flags, 1) or has(flags, 64)) and not is_running then wrong('delivered or to stop, and does not run', id) end
  if jobs[id] and byte(mark, 19) ~= byte(jobs[id], 7) then wrong('a mark with other flags than its record', id) end
end

-- When each job expires, and since when its task is unknown, by its limits and its mark.
local function overdue(id, mark)
  local limits, none = notes['l' .. id], string.rep('\255', 8)
  if not limits then
    wrong('without its limits', id)
    return
  end
  local start, deadline = sub(limits, 1, 8), sub(limits, 9)
  local first = start ~= none and (not mark or sub(mark, 36, 43) == none) and open('>I8', start)
  local last = deadline ~= none and open('>I8', deadline)
  return first and last and math.min(first, last) or first or last or nil
end

local expiring, strangers = {}, {}
for i, one in ipairs(call('ZRANGE', prefix .. 'expiring', 0, -1)) do
  expiring[one] = tonumber(call('ZSCORE', prefix .. 'expiring', one))
end
for i, one in ipairs(call('ZRANGE', prefix .. 'strangers', 0, -1)) do
  strangers[one] = tonumber(call('ZSCORE', prefix .. 'strangers', one))
end
for id, record in pairs(jobs) do
  local mark = marks[id]
  local stands = not mark or byte(mark) ~= 108 and not is_end(sub(mark, 1, 1))
  local at = has(byte(record, 7), 32) and stands and overdue(id, mark) or nil
  if expiring[id] ~= at then wrong('among those that expire', id) end
  local parked = mark and byte(mark) == 114 and has(byte(mark, 2), 32)
  local since = parked and sub(mark, 76) == 'unknown_task' and open('>I8', mark, 44) or nil
  if strangers[id] ~= since then wrong('among the strangers', id) end
end
for _, others in ipairs({expiring, strangers}) do
  for id in pairs(others) do
    if not jobs[id] then wrong('expires or is strange, and is not stored', id) end
  end
end

for id in pairs(map('interest')) do
  if not jobs[id] then wrong('interest in a job that is not stored', id) end
  if marks[id] and is_end(sub(marks[id], 1, 1)) then wrong('interest in a job that has ended', id) end
end
local followed = {}
for _, id in ipairs(call('LRANGE', prefix .. 'follow', 0, -1)) do
  followed[id] = true
  if not marks[id] or not is_end(sub(marks[id], 1, 1)) then wrong('to follow, and has not ended', id) end
end
local edges, held, unfollowed, TWIN = {}, {}, {}, {o = 'w', w = 'o', p = 'r', r = 'p', k = 'q', q = 'k'}
for _, edge in ipairs(call('ZRANGE', prefix .. 'edges', 0, -1)) do
  edges[edge] = true
end
for edge in pairs(edges) do
  local kind, one, other = sub(edge, 1, 1), sub(edge, 2, 17), sub(edge, 18)
  if not jobs[one] then wrong('an edge of a job that is not stored', edge) end
  local twin = TWIN[kind] .. other .. one
  if not edges[twin] then wrong('half an edge', edge) end
  if kind == 'r' or kind == 'k' then held[one] = true end
  local state = sub(marks[other] or ' ', 1, 1)
  if kind == 'k' and not is_end(state) then wrong('kept for a live job', one) end
  if kind == 'o' and is_end(sub(marks[one] or ' ', 1, 1)) and state == 'w' and not followed[one] then unfollowed[one] = true end
end
for id, mark in pairs(marks) do
  -- A dead letter is held until all that hangs on it has been followed.
  local to_bury = byte(mark) == 100 and followed[id]
  if not to_bury and has(byte(mark, 2), 4) ~= (held[id] or false) then wrong('held for nobody, or not held', id) end
end
for id in pairs(unfollowed) do
  wrong('ended, and nobody is told', id)
end

-- 4. Blocks hold every job once, and say how many they hold.
local index, in_blocks = {}, 0
for _, number in ipairs(call('ZRANGE', prefix .. 'index', 0, -1)) do
  index[number] = true
end
local blocks = map('blocks')
for number, ids in pairs(blocks) do
  local count = 0
  for at = 2, #ids, 16 do
    local id = sub(ids, at, at + 15)
    if jobs[id] then
      count = count + 1
      if math.floor(open('>I6', jobs[id]) / 63) ~= tonumber(number) then wrong('in a wrong block', id) end
    end
  end
  in_blocks = in_blocks + count
  if count ~= byte(ids) then wrong('block ' .. number .. ' counts ' .. byte(ids) .. ' and has ' .. count) end
  if not index[number] then wrong('block ' .. number .. ' is not in the index') end
end
if size(index) ~= size(blocks) then wrong('the index has blocks that there are not') end
if in_blocks ~= size(jobs) then wrong('blocks have ' .. in_blocks .. ' of ' .. size(jobs) .. ' jobs') end

-- 5. The counters.
local meta, ended = map('meta'), 0
for state, count in pairs(stored) do
  local ends = tonumber(meta['e:' .. state] or 0)
  ended = ended + ends
  if ends - tonumber(meta['p:' .. state] or 0) ~= count then wrong('ends counted as ' .. state) end
end
if tonumber(meta.enqueued or 0) ~= ended + live + waiting then wrong('taken in is not ended and live') end
-- 6. Slots, rates, unique keys.

-- What a record says of its keys: the unique one and its window, and of each limit the kind, the key and how many slots.
local function keys_of(record)
  local flags, at = byte(record, 7), 9 + byte(record, 8)
  if not has(flags, 128) then return {} end
  at = at + (has(flags, 2) and 2 or 0) + (has(flags, 4) and 4 or 0) + (has(flags, 8) and 9 or 0)
  if has(flags, 16) then at = at + 2 + 16 * (open('>I2', record, at) % 4096) end
  if has(flags, 32) then at = at + 18 end
  if has(flags, 64) then
    local count = byte(record, at)
    at = at + 1
    for _ = 1, count do
      at = at + 1 + byte(record, at)
    end
  end
  local all, from = {}, at + 2
  if sub(record, from, from) ~= '-' then
    all.unique, all.window = sub(record, from + 11, from + 10 + byte(record, from + 10)), sub(record, from, from)
    from = from + 11 + #all.unique
  else
    from = from + 1
  end
  for i = 1, byte(record, from) do
    local start = i == 1 and from + 1 or from
    local kind = sub(record, start, start)
    local length = start + (kind == 's' and 6 or 17)
    all[i] = {kind = kind, most = open('>I4', record, start + 1), key = sub(record, length + 1, length + byte(record, length))}
    from = length + 1 + byte(record, length)
  end
  return all
end

local holders, in_line = {}, {}
for _, member in ipairs(call('ZRANGE', prefix .. 'slots', 0, -1)) do
  local key, id = string.match(member, '^(%Z*)'), sub(member, -16)
  holders[member], holders[key] = true, (holders[key] or 0) + 1
  if place[id] ~= 'leased' then wrong('a slot of a job that does not run', id) end
end
for id, record in pairs(jobs) do
  for _, limit in ipairs(keys_of(record)) do
    local member = limit.key .. '\0' .. id
    if limit.kind == 's' and place[id] == 'leased' and not holders[member] then wrong('runs without its slot', id) end
    if holders[member] and limit.kind == 's' then holders[member] = 'known' end
    if limit.kind == 's' and (place[id] == 'ready' or place[id] == 'suspects') then in_line[limit.key] = true end
  end
end
for member, known in pairs(holders) do
  if known == true then wrong('a slot that its job does not ask for', member) end
end

-- Nobody waits for a slot while none is taken, unless somebody is in line for it.
for key in pairs(parked_for.blocked) do
  if not holders[key] and not in_line[key] then wrong('every slot is free and nobody comes', key) end
end

local windows, first_window = call('ZRANGE', prefix .. 'windows', 0, -1, 'WITHSCORES'), nil
for i = 1, #windows, 2 do
  first_window = first_window or windows[i + 1]
  if not parked_for.throttled[windows[i]] then wrong('a window for which nobody waits', windows[i]) end
  parked_for.throttled[windows[i]] = nil
end
for key in pairs(parked_for.throttled) do
  wrong('parked for a rate without a window', key)
end
if tonumber(meta.opens or 0) ~= tonumber(first_window or 0) then wrong('the first window is another') end

local passing = {}
for _, key in ipairs(call('ZRANGE', prefix .. 'passing', 0, -1)) do
  passing[key] = tonumber(call('ZSCORE', prefix .. 'passing', key))
end
for key, owner in pairs(map('unique')) do
  local id, till = sub(owner, 1, 16), sub(owner, 17) ~= string.rep('\255', 8) and open('>I8', owner, 17) or nil
  if passing[key] ~= till then wrong('a unique key until another time', key) end
  passing[key] = nil
  local keys, state = jobs[id] and keys_of(jobs[id]), marks[id] and sub(marks[id], 1, 1)
  local window = keys and keys.unique == key and keys.window
  if keys and not window then wrong('a unique key of a job that does not say so', id) end
  if window == 'f' and state and is_end(state) or window == 's' and state and (is_end(state) or state == 'l') then
    wrong('a unique key beyond its window', id)
  end
end
for key in pairs(passing) do
  wrong('a time of a unique key that nobody has', key)
end

-- 7. Schedules.
local calendar, first_tick = {}, nil
for _, member in ipairs(call('ZRANGE', prefix .. 'calendar', 0, -1)) do
  calendar[member] = true
end
for name, record in pairs(map('schedules')) do
  local due = sub(record, 9, 16)
  if open('>I8', record) > tonumber(meta.fence or 0) then wrong('a version that is still to be given', name) end
  if not calendar['n' .. name] then wrong('a schedule that no page shows', name) end
  calendar['n' .. name] = nil
  if due ~= string.rep('\255', 8) then
    if not calendar['d' .. due .. name] then wrong('a schedule that is never due', name) end
    calendar['d' .. due .. name] = nil
    local at = open('>I8', due)
    first_tick = math.min(first_tick or at, at)
  end
end
for member in pairs(calendar) do
  wrong('left in the calendar', member)
end
if tonumber(meta.ticks or 0) ~= (first_tick or 0) then wrong('the first schedule is due at another time') end

for field in pairs(meta) do
  local kind, who = sub(field, 1, 2), sub(field, 3)
  local seen = kind == 'n:' and 'w:' .. who or (kind == 'w:' or kind == 'c:') and field
  if seen and not call('ZSCORE', prefix .. 'idle', seen) then wrong('never to be forgotten', field) end
end
return wrongs
