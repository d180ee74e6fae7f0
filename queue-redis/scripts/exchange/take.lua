-- What a claim does with one job: it goes to the worker, or is set aside since the worker can't run it. Leans on `give`
-- (call), on what is gathered and `endings` (endings), and on the answers to the settlements (settle).

-- 6. Claim.
local fence = math.max((tonumber(kept[2]) or 0) + 1, now)
-- What is claimed and parked: ids, members taken from the park, those of them that nobody had known, jobs with limits, stale
-- progress, tasks that are strange here, bytes, heads looked at.
local C = {ids = {}, unparked = {}, known = {}, timed = {}, stale = {}, strange = {}, bytes = 0, looked = 0,
  suspects_left = false}
S.claimed = C.ids
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
