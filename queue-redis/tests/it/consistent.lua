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
local place, score, found_seq, found_priority = {}, {}, {}, {}

local function walk(key, read)
  local members = call('ZRANGE', prefix .. key, 0, -1, 'WITHSCORES')
  for i = 1, #members, 2 do
    local id, seq, priority = read(members[i])
    if place[id] then wrong('in ' .. place[id] .. ' and in ' .. key, id) end
    if not jobs[id] then wrong('in ' .. key .. ' and not stored', id) end
    place[id], score[id], found_seq[id], found_priority[id] = key, tonumber(members[i + 1]), seq, priority
  end
end

local function by_sequence(member) return sub(member, 7), sub(member, 1, 6) end
local function by_time(member) return sub(member, 1, 16), nil, sub(member, 17, 20) end
local function by_id(member) return member end

walk('ready', by_sequence)
walk('suspects', by_sequence)
walk('parked', function(member) return sub(member, -16), sub(member, -22, -17) end)
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
  if state == 'r' then return has(flags, 32) and 'parked' or has(flags, 2) and 'suspects' or 'ready' end
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

local stored, waiting = {c = 0, x = 0, e = 0, d = 0}, 0
for id in pairs(jobs) do
  local mark = marks[id]
  if mark then
    local state = sub(mark, 1, 1)
    if place[id] ~= where(mark) then wrong(state .. ' but in ' .. (place[id] or 'no line'), id) end
    check_numbers(id, mark)
    if is_end(state) then stored[state] = stored[state] + 1 end
    if state == 'w' then waiting = waiting + 1 end
  elseif place[id] ~= 'ready' and place[id] ~= 'delayed' then
    wrong('without a mark in ' .. (place[id] or 'no line'), id)
  end
end

local dead_marks = 0
for id, mark in pairs(marks) do
  if not jobs[id] then wrong('a mark of a job that is not stored', id) end
  if byte(mark) == 100 and not has(byte(mark, 2), 4) then dead_marks = dead_marks + 1 end
end
for _, id in ipairs(dead) do
  if not marks[id] or byte(marks[id]) ~= 100 then wrong('among the dead', id) end
end
if #dead ~= dead_marks then wrong('not all the dead are among the dead') end

-- 3. Notes, interest, edges, and what is still to follow belong to jobs that are there.
for note in pairs(map('notes')) do
  local id = sub(note, 2)
  local flag = sub(note, 1, 1) == 'f' and 8 or 16
  if not marks[id] or not has(byte(marks[id], 2), flag) then wrong('a note that no job has', note) end
end
for id in pairs(map('interest')) do
  if not jobs[id] then wrong('interest in a job that is not stored', id) end
  if marks[id] and is_end(sub(marks[id], 1, 1)) then wrong('interest in a job that has ended', id) end
end
for _, id in ipairs(call('LRANGE', prefix .. 'follow', 0, -1)) do
  if not marks[id] or not is_end(sub(marks[id], 1, 1)) then wrong('to follow, and has not ended', id) end
end
local edges, TWIN = {}, {o = 'w', w = 'o', p = 'r', r = 'p'}
for _, edge in ipairs(call('ZRANGE', prefix .. 'edges', 0, -1)) do
  edges[edge] = true
end
for edge in pairs(edges) do
  local kind, one, other = sub(edge, 1, 1), sub(edge, 2, 17), sub(edge, 18)
  if not jobs[one] then wrong('an edge of a job that is not stored', edge) end
  local twin = TWIN[kind] .. other .. one
  local half_followed = kind == 'w' and is_end(sub(marks[one] or ' ', 1, 1))
  if not edges[twin] and not half_followed then wrong('half an edge', edge) end
  if kind == 'r' and not has(byte(marks[one] or '  ', 2), 4) then wrong('not held for its result', one) end
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
for field in pairs(meta) do
  local kind, who = sub(field, 1, 2), sub(field, 3)
  local seen = kind == 'n:' and 'w:' .. who or (kind == 'w:' or kind == 'c:') and field
  if seen and not call('ZSCORE', prefix .. 'idle', seen) then wrong('never to be forgotten', field) end
end
return wrongs
