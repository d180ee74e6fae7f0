-- Slots, rates and unique keys, for the scripts that move jobs which have any: the record's flag 128, which a mark has too.
--
-- Who holds a slot is in `slots`, so that nothing is counted that could be counted wrong. A job that is parked for a key
-- says so in the word of its mark, the key behind a NUL, and is in `blocked` or `throttled` under it. `windows` has the keys
-- of the latter, each with the time at which those jobs are looked at next; `opens` in `META` is the first of these times.
-- What is changed here is gathered and written by `flush`, but what is asked for again within a call at once.
local function limiter(K)
  local G = {}
  local call, sub, byte, char, rep, pack, open = redis.call, string.sub, string.byte, string.char, string.rep, struct.pack,
    struct.unpack
  local META, JOBS, MARKS, READY, SUSPECTS = KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[6]
  local SLOTS, BLOCKED, THROTTLED, WINDOWS, RATES, UNIQUE, PASSING = unpack(KEYS, 23)
  local SUSPECT, ASIDE, MAX_TIME, MAX_WINDOWS = 2, 32, 9007199254740992, 300
  local NONE8, ZERO8, FAR, now = rep('\255', 8), rep('\0', 8), rep('\255', 30), S.now

  -- What a section of a record says: `unique` with its key, window, length and conflict, and `limits` in their order, a rate
  -- being one that has `every`.
  local function parse(text)
    local own, at = {limits = {}}, 2
    if byte(text) ~= 45 then
      own.unique = {window = sub(text, 1, 1), length = open('>I8', text, 2), conflict = sub(text, 10, 10),
        key = sub(text, 12, 11 + byte(text, 11))}
      at = 12 + byte(text, 11)
    end
    local count = byte(text, at)
    at = at + 1
    for i = 1, count do
      local limit
      if byte(text, at) == 115 then
        limit = {most = open('>I4', text, at + 1), cancels = byte(text, at + 5) == 99}
        at = at + 6
      else
        limit = {every = open('>I8', text, at + 1), burst = open('>I4', text, at + 9), cost = open('>I4', text, at + 13)}
        at = at + 17
      end
      limit.key = sub(text, at + 1, at + byte(text, at))
      own.limits[i], at = limit, at + 1 + byte(text, at)
    end
    return own
  end

  -- Mostly many jobs say the same.
  local said = {}

  function G.own(record)
    local text = K.read(record).keys
    local own = said[text] or parse(text)
    said[text] = own
    return own
  end

  function G.has_key(record, key)
    local own = G.own(record)
    if own.unique and own.unique.key == key then return true end
    for _, limit in ipairs(own.limits) do
      if limit.key == key then return true end
    end
    return false
  end

  -- A section whose job is unique no more.
  function G.common(text)
    return byte(text) == 45 and text or '-' .. sub(text, 12 + byte(text, 11))
  end

  -- How many hold a slot of a key, with what this call changes of it.
  local counts, taken, freed = {}, {}, {}

  local function running(key)
    local count = counts[key] or call('ZLEXCOUNT', SLOTS, '[' .. key .. '\0', '[' .. key .. '\0' .. FAR)
    counts[key] = count
    return count
  end

  -- When everything that has started under a rate is paid for, and those keys of which this call changes it.
  local arrivals, paid = {}, {}

  local function arrival(key)
    local at = arrivals[key] or tonumber(call('ZSCORE', RATES, key) or 0)
    arrivals[key] = at
    return at
  end

  local function pay(key, at)
    arrivals[key], paid[key] = math.min(at, MAX_TIME), true
  end

  local function opens(limit)
    local at = math.min(arrival(limit.key) + limit.every * limit.cost, MAX_TIME)
    return math.max(at - limit.every * limit.burst, 0)
  end

  -- Who keeps others of a unique key out, as far as this call has asked: id and until when, or false; the keys of which it
  -- changes that; and of which keys whom it is to let go, once that is known.
  local owners, changed, leaving = {}, {}, {}

  local function known(key, found)
    local till = found and open('>I8', found, 17)
    owners[key] = found and {id = sub(found, 1, 16), till = sub(found, 17) ~= NONE8 and till or nil}
  end

  -- Asks for the owners of many keys at once.
  function G.ask(keys)
    for i, found in ipairs(#keys > 0 and call('HMGET', UNIQUE, unpack(keys)) or {}) do
      known(keys[i], found)
    end
  end

  function G.owner(key)
    if owners[key] == nil then known(key, call('HGET', UNIQUE, key)) end
    local owner = owners[key]
    return owner and (not owner.till or now < owner.till) and owner.id
  end

  function G.claim_key(unique, id)
    local till = unique.window == 't' and math.min(now + unique.length, MAX_TIME) or nil
    owners[unique.key], changed[unique.key] = {id = id, till = till}, true
  end

  -- A job is not to keep others of its key out any more, if it does.
  function G.let_go(unique, id)
    local owner = owners[unique.key]
    if owner == nil then
      leaving[#leaving + 1] = {unique.key, id}
    elseif owner and owner.id == id then
      owners[unique.key], changed[unique.key] = false, true
    end
  end

  -- The first of its limits that keeps a job from running now, and what becomes of it.
  function G.hold_back(own)
    for _, limit in ipairs(own.limits) do
      if not limit.every then
        if running(limit.key) >= limit.most then return limit.cancels and 'full' or 'limit_full', limit end
      elseif math.min(math.max(arrival(limit.key), now) + limit.every * limit.cost, MAX_TIME)
        > math.min(now + limit.every * limit.burst, MAX_TIME) then
        return 'rate_window', limit
      end
    end
  end

  -- The limit for a slot of which a new job is parked at once.
  function G.full_for(own)
    for _, limit in ipairs(own.limits) do
      if limit.most and not limit.cancels and running(limit.key) >= limit.most then return limit end
    end
  end

  -- A job is claimed that nothing holds back.
  function G.start(id, own)
    for _, limit in ipairs(own.limits) do
      if limit.every then
        pay(limit.key, math.max(arrival(limit.key), now) + limit.every * limit.cost)
      else
        counts[limit.key] = running(limit.key) + 1
        taken[#taken + 1], taken[#taken + 2] = '0', limit.key .. '\0' .. id
      end
    end
    if own.unique and own.unique.window == 's' then G.let_go(own.unique, id) end
  end

  -- Jobs parked for a key, those to come first at first.
  local function first(line, key, most)
    return call('ZRANGEBYLEX', line, '[' .. key .. '\0', '[' .. key .. '\0' .. FAR, 'LIMIT', 0, most)
  end

  -- Keys for whose rate perhaps nobody waits any more, and whether the first window may be another.
  local emptied, stirred = {}, false

  -- Where a job is that is parked for a limit: the line, and its member. Nothing for one that is not.
  function G.place(id, mark)
    local line, from
    if byte(mark) ~= 114 or bit.band(byte(mark, 2), ASIDE) == 0 then return end
    if byte(mark, 76) == 108 then line, from = BLOCKED, 87 end
    if byte(mark, 76) == 114 then line, from = THROTTLED, 88 end
    if not line then return end
    local key = sub(mark, from)
    return line, key .. '\0' .. pack('>I4', 4294967295 - open('>I4', mark, 15)) .. sub(mark, 9, 14) .. id, key
  end

  -- The mark of a job that is parked for a limit.
  function G.parked(mark, reason, limit)
    return 'r' .. char(K.with(byte(mark, 2), ASIDE)) .. sub(mark, 3, 43) .. pack('>I8', now) .. sub(mark, 52, 75) .. reason
      .. '\0' .. limit.key
  end

  -- Parks a job for a limit. Answers the mark that is to be written.
  function G.park(id, mark, reason, limit)
    mark = G.parked(mark, reason, limit)
    local line, member = G.place(id, mark)
    if line == THROTTLED then
      local at, others = string.format('%.0f', opens(limit)), #first(THROTTLED, limit.key, 1) > 0
      call('ZADD', WINDOWS, unpack(others and {'LT', at, limit.key} or {at, limit.key}))
      stirred = true
    end
    call('ZADD', line, 0, member)
    return mark
  end

  -- Takes a job out of the line in which it is parked for a limit, if it is.
  function G.unpark(id, mark)
    local line, member, key = G.place(id, mark)
    if not line then return end
    call('ZREM', line, member)
    if line == THROTTLED then emptied[key] = true end
    return true
  end

  -- Puts a job into line; the claim, which reads the lines meanwhile, does it in a way of its own.
  local function put(id, mark, record)
    if S.put then return S.put(id, mark, record or call('HGET', JOBS, id)) end
    local suspect = bit.band(byte(mark, 2), SUSPECT) ~= 0
    call('ZADD', suspect and SUSPECTS or READY, 0 - K.priority_of(mark), sub(mark, 9, 14) .. id)
    S.suspects = S.suspects or suspect
  end

  -- Brings a parked job back into line.
  local function bring(line, member, record)
    local id = sub(member, -16)
    local mark = call('HGET', MARKS, id)
    mark = 'r' .. char(K.without(byte(mark, 2), ASIDE)) .. sub(mark, 3, 43) .. ZERO8 .. sub(mark, 52, 75)
    call('ZREM', line, member)
    call('HSET', MARKS, id, mark)
    S.ready = S.ready + 1
    put(id, mark, record)
  end

  -- Brings the first job that is parked for a slot of the key back into line, if one is free by its own word.
  local function unblock(key)
    local member = first(BLOCKED, key, 1)[1]
    if not member then return end
    local record = call('HGET', JOBS, sub(member, -16))
    for _, limit in ipairs(G.own(record).limits) do
      if limit.most and limit.key == key and running(key) < limit.most then return bring(BLOCKED, member, record) end
    end
  end

  -- Sees to it that who waits for the rate of a key is looked at by the next call: who came back for it did not start.
  local function give_turn_on(key)
    if call('ZADD', WINDOWS, 'XX', 'CH', 0, key) == 1 then S.ready, stirred = S.ready + 1, true end
  end

  -- What follows for others from a job that has moved: its slots are free, and its key; who waits for a slot comes back.
  -- One that leaves the line without running makes way, too: the slot might have been meant for it.
  function G.moved(id, old, new, record)
    local own = G.own(record or call('HGET', JOBS, id))
    local ran, runs = byte(old) == 108, byte(new) == 108
    local stood = byte(old) == 114 and bit.band(byte(old, 2), ASIDE) == 0
    local stands = byte(new) == 114 and bit.band(byte(new, 2), ASIDE) == 0
    for _, limit in ipairs(ran and not runs and own.limits or {}) do
      if limit.most then
        counts[limit.key] = running(limit.key) - 1
        freed[#freed + 1] = limit.key .. '\0' .. id
      end
    end
    local unique = own.unique
    if unique and K.is_end(sub(new, 1, 1)) and (unique.window == 's' or unique.window == 'f') then G.let_go(unique, id) end
    if not runs and (ran or stood and not stands) then
      for _, limit in ipairs(own.limits) do
        if limit.most then unblock(limit.key) end
      end
    end
    if stood and not stands and not runs and not G.place(id, new) then
      for _, limit in ipairs(own.limits) do
        if limit.every then give_turn_on(limit.key) end
      end
    end
  end

  -- What the first job that is parked for the rate of a key says of it.
  local function first_throttled(key)
    local member = first(THROTTLED, key, 1)[1]
    for _, limit in ipairs(member and G.own(call('HGET', JOBS, sub(member, -16))).limits or {}) do
      if limit.every and limit.key == key then return limit end
    end
  end

  -- Closes the rates that a job is under.
  function G.close(id, hold)
    for _, limit in ipairs(G.own(call('HGET', JOBS, id)).limits) do
      if limit.every then
        local at = math.min(now + hold, MAX_TIME) + limit.every * (limit.burst - 1)
        pay(limit.key, math.max(arrival(limit.key), at))
        local waits = first_throttled(limit.key)
        if waits then call('ZADD', WINDOWS, 'XX', 'GT', string.format('%.0f', opens(waits)), limit.key) end
        stirred = true
      end
    end
  end

  -- Brings up to `most` jobs back whose rates have opened.
  function G.open_windows(most)
    stirred = true
    for _ = 1, MAX_WINDOWS do
      local key = most > 0 and call('ZRANGEBYSCORE', WINDOWS, '-inf', now, 'LIMIT', 0, 1)[1]
      if not key then return end
      local limit = first_throttled(key)
      local room, back = 0, {}
      if limit then
        local left = math.min(now + limit.every * limit.burst, MAX_TIME) - math.max(arrival(key), now)
        room = math.min(math.floor(left / (limit.every * limit.cost)), most)
      end
      if room > 0 then back = first(THROTTLED, key, room) end
      for _, member in ipairs(back) do
        bring(THROTTLED, member)
      end
      most = most - #back
      if not limit or #back > 0 and #first(THROTTLED, key, 1) == 0 then
        call('ZREM', WINDOWS, key)
      else
        -- Once one more has room beside those that came back; of a fast rate as many as make a look every 5 ms, up to
        -- half the burst.
        local share = math.max(limit.cost, math.min(math.floor(5000 / limit.every), math.ceil(limit.burst / 2))) - limit.burst
        local paid = math.min(math.max(arrival(key), now) + limit.every * limit.cost * #back, MAX_TIME)
        local at = #back == 0 and opens(limit) or math.min(math.max(paid + limit.every * share, 0), MAX_TIME)
        call('ZADD', WINDOWS, string.format('%.0f', at), key)
      end
    end
  end

  -- Drops up to so many unique keys whose time has passed, and as many rates that are paid.
  function G.prune(most)
    local keys = call('ZRANGEBYSCORE', PASSING, '-inf', now, 'LIMIT', 0, most)
    if #keys > 0 then
      call('HDEL', UNIQUE, unpack(keys))
      call('ZREM', PASSING, unpack(keys))
    end
    keys = call('ZRANGEBYSCORE', RATES, '-inf', now, 'LIMIT', 0, most)
    if #keys > 0 then call('ZREM', RATES, unpack(keys)) end
  end

  local function write_owners()
    local asked, set, gone, till, endless = {}, {}, {}, {}, {}
    for i, one in ipairs(leaving) do
      asked[i] = one[1]
    end
    G.ask(asked)
    local all = leaving
    leaving = {}
    for _, one in ipairs(all) do
      G.let_go({key = one[1]}, one[2])
    end
    for key in pairs(changed) do
      local owner = owners[key]
      if not owner then
        gone[#gone + 1] = key
      else
        set[#set + 1], set[#set + 2] = key, owner.id .. (owner.till and pack('>I8', owner.till) or NONE8)
      end
      if owner and owner.till then
        till[#till + 1], till[#till + 2] = string.format('%.0f', owner.till), key
      else
        endless[#endless + 1] = key
      end
    end
    changed = {}
    if #gone > 0 then call('HDEL', UNIQUE, unpack(gone)) end
    if #set > 0 then call('HSET', UNIQUE, unpack(set)) end
    if #till > 0 then call('ZADD', PASSING, unpack(till)) end
    if #endless > 0 then call('ZREM', PASSING, unpack(endless)) end
  end

  local function write_windows()
    for key in pairs(emptied) do
      if #first(THROTTLED, key, 1) == 0 then
        call('ZREM', WINDOWS, key)
        stirred = true
      end
    end
    emptied = {}
    if not stirred then return end
    stirred = false
    S.opens = tonumber((call('ZRANGE', WINDOWS, 0, 0, 'WITHSCORES')[2]))
    if S.opens then
      call('HSET', META, 'opens', string.format('%.0f', S.opens))
    else
      call('HDEL', META, 'opens')
    end
  end

  -- Writes what was gathered.
  function G.flush()
    if #freed > 0 then call('ZREM', SLOTS, unpack(freed)) end
    if #taken > 0 then call('ZADD', SLOTS, unpack(taken)) end
    freed, taken = {}, {}
    local scores = {}
    for key in pairs(paid) do
      scores[#scores + 1], scores[#scores + 2] = string.format('%.0f', arrivals[key]), key
    end
    paid = {}
    if #scores > 0 then call('ZADD', RATES, unpack(scores)) end
    if #leaving > 0 or next(changed) then write_owners() end
    if stirred or next(emptied) then write_windows() end
  end

  return G
end

-- The one of this call, made when it is first asked for.
function S.limits(K)
  S.limiter = S.limiter or limiter(K)
  return S.limiter
end
