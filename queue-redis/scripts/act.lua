-- Does something to jobs, to each on its own.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 what: c cancel, d delete, r revive, e edit, w wait again; 4 to cancel: how long they are kept 8;
--       to revive or edit: kind of time 1 (a NUL for none) and time 8, `1` and the priority 4 or five NULs, `1` if there is
--       an envelope; 5 that envelope; then ids (16 bytes).
-- Returns  two characters for each: `d` done and the state it is in or was removed in; `a-` asked to stop; `r` refused and
--       its state; `m-` not stored.
-- Cost  3 commands, 2 for each job, up to 15 more for each that is changed, 5 for each edge followed, about 20 for all that
--       are removed; to revive, or let wait again, one that waited for others up to 2 more for each of these. At most 100
--       jobs, which the caller sees to, and 100 edges.
S.sequence = tonumber(call('HGET', META, 'seq') or 0)
local K = kit()
local Z = enders(K)
local D = editors(K, Z)
local what, given = ARGV[3], ARGV[4]
local HELD, ASKED, NOTED = 4, 64, 128
local T, edges_left, removed, gone, asked = S.edges(K), MAX_UPKEEP, {}, {}, {}
local with, char, band = K.with, string.char, bit.band

-- Does something to all edges to those that a job waited for, and whether that was all of them: `T.let_all_go`, by which
-- it is rid of them, or `T.keep_all`.
local function untied(how, id, mark)
  if band(byte(mark, 19), 16) == 0 then return true end
  if edges_left > 0 then edges_left = edges_left - how(id, edges_left) end
  return edges_left > 0
end

-- Calls off a job that does not run. It keeps those it waited for, unless it is rid of them.
local function cancel(id, mark, record, keep)
  Z.leave(id, mark, record)
  local is_followed = untied(T.keep_all, id, mark)
  return 'x', Z.finish(id, mark, 'x', 'requested', now + keep, 0, is_followed)
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
  local goes, _ = band(byte(mark, 2), HELD) == 0 and untied(T.let_all_go, id, mark), nil
  if not K.is_end(sub(mark, 1, 1)) then
    _, mark = cancel(id, mark, record, 0)
  end
  if byte(mark, 19) > 127 then release(id, record) end
  if goes then
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

-- The marks of those that a job waited for, if all of them are there.
local function parents_of(job)
  local marks = {}
  for i, mark in ipairs(#job.parents > 0 and call('HMGET', MARKS, unpack(job.parents)) or {}) do
    local parent = job.parents[i]
    local record = not mark and call('HGET', JOBS, parent)
    marks[parent] = mark or record and K.unmarked(parent, record)
    if not marks[parent] then return end
  end
  return marks
end

-- Ties a job of which `how` has come to those it waited for, anew.
local function tie(id, job, marks, how, word)
  local readers, open_edges = {}, {}
  if how ~= 'x' then T.need_again(id) end
  T.tie(id, job.parents, marks, how, word, readers, open_edges)
  for parent, mark in pairs(T.hold(job.parents, marks, word)) do
    call('HSET', MARKS, parent, mark)
  end
  if #readers > 0 then call('ZADD', EDGES, unpack(readers)) end
  if #open_edges > 0 then call('ZADD', EDGES, unpack(open_edges)) end
end

-- Whether what a job waited for is there, to be taken once more.
local function is_ready(job, marks)
  for _, mark in pairs(marks) do
    if not K.is_end(sub(mark, 1, 1)) or job.trigger == 'c' and byte(mark) ~= 99 then return false end
  end
  return true
end

-- Takes an ended job out of the lists of such, and counts it as taken in.
local function begin_anew(id, mark)
  for _, key in ipairs({TRACES, KEPT, DEAD}) do
    call('ZREM', key, id)
  end
  call('HINCRBY', META, 'enqueued', 1)
  call('HINCRBY', META, 'p:' .. sub(mark, 1, 1), 1)
end

-- The last run of an ended job joins its history, and nothing is left of what it told and came to; its flags then.
local function made_anew(id, mark)
  local state, ended = sub(mark, 1, 1), last_run(mark)
  local flags, noted = band(byte(mark, 2), NOTED + HELD), band(byte(mark, 2), NOTED) ~= 0
  if ended then
    local failure = state ~= 'c' and band(byte(mark, 2), 8) ~= 0 and call('HGET', NOTES, 'f' .. id) or ''
    -- It has not started since: the first of its runs is to come.
    call('HSET', NOTES, 'h' .. id, NONE8 .. sub(Z.remembered(id, mark, sub(mark, 44, 51), ended, failure), 9))
    flags = with(flags, NOTED)
  elseif noted then
    call('HSET', NOTES, 'h' .. id, NONE8 .. sub(call('HGET', NOTES, 'h' .. id), 9))
  end
  call('HDEL', NOTES, 'f' .. id, 'r' .. id, 'p' .. id, 'l' .. id)
  return char(flags)
end

local function revive(id, mark, record)
  local job = K.read(record)
  local marks = job.parents and job.node == 't' and parents_of(job)
  if T.is_needed(id, mark) or job.parents and not (marks and is_ready(job, marks)) then return end
  if marks then tie(id, job, marks, 'r') end
  local flags = made_anew(id, mark)
  begin_anew(id, mark)
  job.kind, job.value, job.limits = 'n', 0, nil
  if job.keys then
    release(id, record)
    job.keys = S.limits(K).common(job.keys)
  end
  D.set(job, change)
  local due = D.due_of(job)
  local is_due = not due or due <= now
  S.ready = S.ready + (is_due and 1 or 0)
  mark = (is_due and 'r' or 's') .. flags .. sub(mark, 3, 8) .. (is_due and K.next_sequence() or string.rep('\0', 6))
    .. sub(mark, 15, 19) .. ZERO8 .. (due and pack('>I8', due) or NONE8) .. NONE8 .. ZERO8 .. ZERO16 .. NONE8
  D.write(id, mark, record, job, change.envelope)
  return sub(mark, 1, 1)
end

-- Whether an ended job could wait again, by what it was: one that waited and did not complete, a hold that was cancelled, a
-- relay that has told.
local function may_wait_again(state, job)
  if not job.parents or #job.parents == 0 and job.node == 't' then return false end
  if state == 'c' then return job.node == 'y' end
  return state ~= 'e' or job.node ~= 'h'
end

-- Lets a job wait again.
local function rearm(id, mark, record)
  local job, state = K.read(record), sub(mark, 1, 1)
  local marks = may_wait_again(state, job) and not T.is_needed(id, mark) and parents_of(job)
  if not marks then return end
  local flags, was_limited = made_anew(id, mark), job.limits
  begin_anew(id, mark)
  mark = 'w' .. flags .. sub(mark, 3, 8) .. string.rep('\0', 6) .. sub(mark, 15, 19) .. ZERO8 .. NONE8 .. NONE8
    .. T.waiting(job)
  if state == 'e' then job.limits = nil end
  if job.keys or was_limited ~= job.limits then
    if job.keys then
      release(id, record)
      job.keys = S.limits(K).common(job.keys)
    end
    mark = D.write(id, mark, record, job)
    record = call('HGET', JOBS, id)
  else
    call('HSET', MARKS, id, mark)
  end
  if job.limits then K.expires(id, mark, K.limits_from(job, job.node == 'h' and now or nil)) end
  local how, other, why = T.outcome(job, marks)
  tie(id, job, marks, how, why)
  if how == 'r' then return T.reach(id, mark, record) end
  if how == 'w' then return 'w' end
  local culprit = why == 'dependency' and T.origin(other, marks[other]) or ZERO16
  return T.cancel(id, mark, why, culprit, marks[other], why == 'dependency', record)
end

local function edit(id, mark, record)
  return D.edit(id, mark, record, change)
end

-- Whether what is asked for can't be done to a job that is in this state, and what is no task's is left alone by it.
local function is_out_of_place(state, record)
  if state == 'l' then return true end
  local is_end = K.is_end(state)
  local node = byte(record, 7) % 32 > 15 and K.read(record).node or 't'
  if what == 'd' then return node == 'y' and not is_end end
  if is_end ~= (what == 'r' or what == 'w') then return true end
  return node ~= 't' and (what == 'r' or what == 'e') or node == 'y' and what == 'c'
end

local HOW, answer = {c = cancel, d = delete, r = revive, e = edit, w = rearm}, {}
for i, id in ipairs({unpack(ARGV, 6)}) do
  local record = not gone[id] and call('HGET', JOBS, id)
  local mark = record and (call('HGET', MARKS, id) or K.unmarked(id, record))
  local state = mark and sub(mark, 1, 1)
  if not record then
    answer[i] = 'm-'
  elseif what == 'c' and state == 'l' then
    ask_to_stop(id, mark)
    answer[i] = 'a-'
  elseif is_out_of_place(state, record) then
    answer[i] = 'r' .. state
  else
    local then_in = HOW[what](id, mark, record, what == 'c' and open('>I8', given))
    answer[i] = then_in and 'd' .. then_in or 'r' .. state
  end
end
if call('EXISTS', FOLLOW) == 1 then T.follow(edges_left) end
call('HSET', META, 'seq', S.sequence)
finish(K)
if #removed > 0 then remove(removed) end
for holder in pairs(asked) do
  local terms = call('HGET', META, 'w:' .. holder)
  if terms then call(ARGV[2], sub(META, 1, -5) .. 'ear:' .. sub(terms, 43, 68), 'c' .. holder) end
end
if (S.ready + S.posted > 0 or S.due or S.over) and call('EXISTS', SLEEPERS) == 1 then K.wake_for(S.ready + S.posted) end
return table.concat(answer)
