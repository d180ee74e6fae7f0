-- Does something to jobs, to each on its own.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 what: c cancel, d delete, r revive, e edit; 4 to cancel: how long they are kept 8;
--       to revive or edit: kind of time 1 (a NUL for none) and time 8, `1` and the priority 4 or five NULs, `1` if there is
--       an envelope; 5 that envelope; then ids (16 bytes).
-- Returns  two characters for each: `d` done and the state it is in or was removed in; `a-` asked to stop; `r` refused and
--       its state; `m-` not stored.
-- Cost  3 commands, 2 for each job, up to 12 more for each that is changed, 5 for each edge followed, about 20 for all that
--       are removed; to revive one that waited for others 2 for each of these. At most 100 jobs, which the caller sees to,
--       and 100 edges.
S.sequence = tonumber(call('HGET', META, 'seq') or 0)
local K = kit()
local Z = enders(K)
local D = editors(K, Z)
local what, given = ARGV[3], ARGV[4]
local HELD, ASKED, NOTED = 4, 64, 128
local edges_left, removed, gone, asked = MAX_UPKEEP, {}, {}, {}
local with, char, band = K.with, string.char, bit.band

-- Lets a job go of those it waited for; whether it is rid of them all.
local function is_free(id, mark)
  if band(byte(mark, 19), 16) == 0 then return true end
  if edges_left > 0 then edges_left = edges_left - K.let_all_go(id, edges_left) end
  return edges_left > 0
end

-- Calls off a job that does not run.
local function cancel(id, mark, record, keep)
  Z.leave(id, mark, record)
  local mark_then = Z.finish(id, mark, 'x', 'requested', now + keep, 0, is_free(id, mark))
  return 'x', mark_then
end

local function ask_to_stop(id, mark)
  if band(byte(mark, 2), ASKED) == 0 then
    local flags = char(with(byte(mark, 2), ASKED))
    call('HSET', MARKS, id, 'l' .. flags .. sub(mark, 3, 67) .. sub(given, 1, 8) .. sub(mark, 76))
  end
  asked[sub(mark, 52, 67)] = true
end

-- Frees the unique key of a job, if it has one.
local function release(id, record)
  local unique = S.limits(K).own(record).unique
  if unique then S.limits(K).let_go(unique, id) end
end

local function delete(id, mark, record)
  local _
  if not K.is_end(sub(mark, 1, 1)) then
    _, mark = cancel(id, mark, record, 0)
  end
  if byte(mark, 19) > 127 then release(id, record) end
  if band(byte(mark, 2), HELD) == 0 and is_free(id, mark) then
    removed[#removed + 1], gone[id] = id, true
  else
    -- Kept by those who need it, and by nothing else.
    local until_now = math.max(now, open('>I8', mark, 44))
    call('HSET', MARKS, id, sub(mark, 1, 67) .. pack('>I8', until_now) .. sub(mark, 76))
    call('ZADD', TRACES, 'XX', until_now, id)
    call('ZADD', KEPT, 'XX', until_now, id)
  end
  return sub(mark, 1, 1)
end

-- What is to change.
local change = {}
if what == 'r' or what == 'e' then
  if sub(given, 1, 1) ~= '\0' then change.kind, change.value = sub(given, 1, 1), open('>I8', given, 2) end
  if sub(given, 10, 10) == '1' then change.priority = open('>i4', given, 11) end
  if sub(given, 15, 15) == '1' then change.envelope = ARGV[5] end
end

-- The last run of an ended job that ended with one, as its history has it.
local function last_run(mark)
  local state, word = sub(mark, 1, 1), sub(mark, 76)
  if sub(mark, 52, 67) == ZERO16 or word == 'dependency' then return end
  if state == 'c' then return 'completed' end
  if state == 'x' then return 'cancelled' end
  return (word == 'crashed' or word == 'interrupted') and 'crashed' or 'failed'
end

-- Keeps what a job takes the results of; whether all of that is there.
local function takes(id, record)
  local parents = K.read(record).parents
  if not parents then return true end
  local marks, edges, held = call('HMGET', MARKS, unpack(parents)), {}, {}
  for i, parent in ipairs(parents) do
    if not marks[i] or byte(marks[i]) ~= 99 then return false end
    edges[#edges + 1], edges[#edges + 2], edges[#edges + 3], edges[#edges + 4] = 0, 'r' .. parent .. id, 0, 'p' .. id .. parent
  end
  for i, parent in ipairs(parents) do
    if band(byte(marks[i]), HELD) == 0 and not held[parent] then
      call('HSET', MARKS, parent, K.hold(parent, marks[i]))
      held[parent] = true
    end
  end
  call('ZADD', EDGES, unpack(edges))
  return true
end

local function revive(id, mark, record)
  if band(byte(mark, 2), HELD) ~= 0 or not takes(id, record) then return end
  local state, flags, ended = sub(mark, 1, 1), band(byte(mark, 2), NOTED), last_run(mark)
  for _, key in ipairs({TRACES, KEPT, DEAD}) do
    call('ZREM', key, id)
  end
  if ended then
    local failure = state ~= 'c' and band(byte(mark, 2), 8) ~= 0 and call('HGET', NOTES, 'f' .. id) or ''
    -- It has not started since: the first of its runs is to come.
    call('HSET', NOTES, 'h' .. id, NONE8 .. sub(Z.remembered(id, mark, sub(mark, 44, 51), ended, failure), 9))
    flags = with(flags, NOTED)
  elseif flags ~= 0 then
    call('HSET', NOTES, 'h' .. id, NONE8 .. sub(call('HGET', NOTES, 'h' .. id), 9))
  end
  call('HDEL', NOTES, 'f' .. id, 'r' .. id, 'p' .. id, 'l' .. id)
  call('HINCRBY', META, 'enqueued', 1)
  call('HINCRBY', META, 'p:' .. state, 1)
  local job = K.read(record)
  job.kind, job.value, job.limits = 'n', 0, nil
  if job.keys then
    release(id, record)
    job.keys = S.limits(K).common(job.keys)
  end
  D.set(job, change)
  local due = D.due_of(job)
  local is_ready = not due or due <= now
  S.ready = S.ready + (is_ready and 1 or 0)
  mark = (is_ready and 'r' or 's') .. char(flags) .. sub(mark, 3, 8) .. (is_ready and K.next_sequence() or string.rep('\0', 6))
    .. sub(mark, 15, 19) .. ZERO8 .. (due and pack('>I8', due) or NONE8) .. NONE8 .. ZERO8 .. ZERO16 .. NONE8
  D.write(id, mark, record, job, change.envelope)
  return sub(mark, 1, 1)
end

local function edit(id, mark, record)
  return D.edit(id, mark, record, change)
end

local HOW, answer = {c = cancel, d = delete, r = revive, e = edit}, {}
for i, id in ipairs({unpack(ARGV, 6)}) do
  local record = not gone[id] and call('HGET', JOBS, id)
  local mark = record and (call('HGET', MARKS, id) or K.unmarked(id, record))
  local state = mark and sub(mark, 1, 1)
  if not record then
    answer[i] = 'm-'
  elseif what == 'c' and state == 'l' then
    ask_to_stop(id, mark)
    answer[i] = 'a-'
  elseif state == 'l' or what ~= 'd' and K.is_end(state) ~= (what == 'r') then
    answer[i] = 'r' .. state
  else
    local then_in = HOW[what](id, mark, record, what == 'c' and open('>I8', given))
    answer[i] = then_in and 'd' .. then_in or 'r' .. state
  end
end
if call('EXISTS', FOLLOW) == 1 then K.follow(edges_left) end
call('HSET', META, 'seq', S.sequence)
finish(K)
if #removed > 0 then remove(removed) end
for holder in pairs(asked) do
  local terms = call('HGET', META, 'w:' .. holder)
  if terms then call(ARGV[2], sub(META, 1, -5) .. 'ear:' .. sub(terms, 43, 68), 'c' .. holder) end
end
if (S.ready > 0 or S.due or S.over) and call('EXISTS', SLEEPERS) == 1 then K.wake_for(S.ready) end
return table.concat(answer)
