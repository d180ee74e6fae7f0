-- Lines of candidates: what stands in them, what comes back into them meanwhile, and the step that takes the head of one.
-- Leans on `misfit`, `take` and `park` (take), and on `endings` (endings).

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
