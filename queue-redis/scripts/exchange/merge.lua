-- A claim from more than one line: their heads are compared. Leans on the lines and on `advance` (lines), and on `misfit`
-- (take).

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
