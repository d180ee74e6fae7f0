-- What has come due, for whoever it was: edges are followed, jobs promoted, expired and reclaimed. Leaves `due`, the next
-- time at which there is something to do, and `more` if there is already. Leans on `endings` and `write` (endings), on
-- `holders` (leases) and on `spare` and `silent` (call).

-- 3. Follow.
local stirs = call('EXISTS', FOLLOW, EXPIRING, KEYS[30]) > 0
if stirs then
  K = K or kit()
  S.edges(K).follow(MAX_UPKEEP)
end

-- 4. Promote, the earliest first.
local delayed, retrying = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2], call('ZRANGE', RETRYING, 0, 0, 'WITHSCORES')[2]
local due = tonumber(delayed or retrying)
if delayed and retrying then due = math.min(delayed, retrying) end

local function promote()
  local call, sub, pack, open, now = redis.call, string.sub, struct.pack, struct.unpack, S.now
  local sources, ids, members, dues = {}, {}, {}, {}
  E = E or endings()
  for i, key in ipairs({KEYS[8], KEYS[9]}) do
    sources[i] = {key = key, at = 1, taken = {},
      found = call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, MAX_UPKEEP)}
  end
  while #ids < MAX_UPKEEP do
    local best, earliest
    for _, source in ipairs(sources) do
      local score = tonumber(source.found[source.at + 1])
      local is_earlier = score and best and score == earliest and K.before(source.found[source.at], best.found[best.at])
      if score and (not best or score < earliest or is_earlier) then best, earliest = source, score end
    end
    if not best then break end
    local member = best.found[best.at]
    best.at = best.at + 2
    best.taken[#best.taken + 1] = member
    ids[#ids + 1], members[#members + 1], dues[#dues + 1] = sub(member, 1, 16), member, earliest
  end
  for _, source in ipairs(sources) do
    if #source.taken > 0 then call('ZREM', source.key, unpack(source.taken)) end
  end
  local rest = string.rep('\0', 24) .. string.rep('\255', 8)
  for i, mark in ipairs(call('HMGET', KEYS[3], unpack(ids))) do
    local id, seq = ids[i], K.next_sequence()
    if not mark then
      local member, never = members[i], string.rep('\255', 8)
      mark = 'r\0' .. sub(member, 21, 26) .. seq .. sub(member, 17, 20) .. sub(member, 27) .. string.rep('\0', 8)
        .. pack('>I8', dues[i]) .. never
    end
    E.set_mark(id, 'r' .. sub(mark, 2, 8) .. seq .. sub(mark, 15, 43) .. rest)
    local suspect = bit.band(string.byte(mark, 2), 2) ~= 0
    E.move(suspect and KEYS[6] or KEYS[5], 2147483648 - open('>I4', members[i], 17), seq .. id)
    S.suspects = S.suspects or suspect
  end
  S.ready = S.ready + #ids
  write()
  return K.next_due()
end

if due and due <= now then due = promote() end
if S.opens and S.opens <= now then
  K = K or kit()
  S.limits(K).open_windows(MAX_UPKEEP)
end

-- Then jobs expire that are overdue, the earliest first.
local expired = false
if stirs then
  E = E or endings()
  expired = E.expire()
  if expired then
    due = K.next_due()
    -- One that was reached in this call, to start later, may have expired in it.
    S.due = S.due and due
  end
end

-- 5. Reclaim leases of others that have ended, the earliest first, out of three hundred looked at.
local function reclaim(over)
  local ids, found = redis.call('ZRANGEBYSCORE', KEYS[10], '-inf', over, 'LIMIT', 0, 300), {}
  local holder, taken = holders(), 0
  E = E or endings()
  for i, mark in ipairs(redis.call('HMGET', KEYS[3], unpack(ids))) do
    local who = mark and string.sub(mark, 52, 67) or worker
    if who ~= worker then
      if taken == MAX_UPKEEP then
        more = true
        break
      end
      taken = taken + 1
      E.take_back(ids[i], mark, holder(who))
      if string.byte(mark, 19) > 127 then S.limits(K).moved(ids[i], mark, W.marks[#W.marks]) end
    end
  end
  write()
  S.edges(K).follow(MAX_UPKEEP)
end

local over = now < spare and math.min(silent, now) or now
local first_lease = call('ZRANGE', LEASED, 0, 0, 'WITHSCORES')[2]
if first_lease and tonumber(first_lease) <= over then
  reclaim(over)
elseif expired then
  S.edges(K).follow(MAX_UPKEEP)
end
