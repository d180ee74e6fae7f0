-- What the exchange, the renewal and pruning share: who the caller is, and what a silence means.

-- Where the tasks begin in the terms of a worker, each between two NULs.
local TASKS = 69

-- The terms a worker registered, or the default ones.
local function terms_of(record)
  if not record then
    return {length = 10000000, renew = 3000000, limit = 3, keep = 7776000000000, level = 0, keep_ended = 3600000000, remember = 10}
  end
  local length, renew, limit, keep_dead, level, keep_ended, remember = struct.unpack('>I8I8I4I8I2I8I4', record)
  return {length = length, renew = renew, limit = limit, keep = keep_dead, level = level, keep_ended = keep_ended,
    remember = remember}
end

-- The terms of workers that hold leases, and what their last exchange says of them.
local function holders()
  local call, open, META, known = redis.call, struct.unpack, KEYS[1], {}
  return function(worker)
    if not known[worker] then
      local found = call('HMGET', META, 'w:' .. worker, 'n:' .. worker, 'g:' .. worker)
      local one = terms_of(found[1])
      one.known = found[1] and true
      one.fence = found[2] and open('>I8', found[2], 9) or 0
      one.void = tonumber(found[3]) or -1
      known[worker] = one
    end
    return known[worker]
  end
end

-- Notes what it means that the shard was called after a silence, or by a clock that went back. Answers until when leases
-- are spared, and when those must have ended that are not.
local function note(terms, seen, spare, silent, back)
  local call, LEASED, META, MARKS, now = redis.call, KEYS[10], KEYS[1], KEYS[3], S.now
  seen, spare, silent = tonumber(seen), tonumber(spare) or 0, tonumber(silent) or 0
  if seen and now < seen then
    spare, silent, back = now + terms.renew + 1000000, now, '+inf'
    call('HSET', META, 'spare', spare, 'silent', silent, 'back', back)
  elseif seen and now - seen > 2 * terms.renew and call('EXISTS', LEASED) == 1 then
    spare, silent = now + terms.renew + 1000000, seen
    call('HSET', META, 'spare', spare, 'silent', silent)
  end
  if not back then return spare, silent end
  -- The clock went back: each lease ends within its holder's length from now. As many as fit in one call, the latest
  -- first; `back` says how far it got. More end at one moment than one renewal holds, which is fewer than are read here.
  local found = call('ZREVRANGEBYSCORE', LEASED, back, string.format('(%.0f', now), 'WITHSCORES', 'LIMIT', 0, 1100)
  local holder = holders()
  for i = 1, #found, 2 do
    local mark = call('HGET', MARKS, found[i])
    local latest = now + holder(string.sub(mark, 52, 67)).length
    if tonumber(found[i + 1]) > latest then call('ZADD', LEASED, 'XX', latest, found[i]) end
  end
  if #found < 2200 then
    call('HDEL', META, 'back')
  else
    call('HSET', META, 'back', found[#found] == found[2] and '(' .. found[2] or found[#found])
  end
  return spare, silent
end
