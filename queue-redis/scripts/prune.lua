-- Removes ended jobs that were kept long enough, or are too many, lets jobs die whose task nobody has known for too long,
-- and forgets workers and callers that are silent, unique keys whose time has passed and rates that are paid.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 the most traces, 4 the most dead letters, 5 for how long a task may be unknown, or
--       nothing, 6 how long those dead are kept, 7 their failure.
-- Returns  how many jobs were removed or died, whether more are left (1 or 0), the ids of those that died, and each worker
--       forgotten (16 bytes).
-- Cost  about 27 commands, one member of variadic ones for each job, two commands for each worker or caller and for each
--       block of up to 63 neighbours, 8 for each job that dies; while ends are still to be followed, 1 for each job that
--       waited for others and 5 for each edge. At most 250 jobs, 100 deaths, 100 edges, 50 workers and callers,
--       250 unique keys and rates of either.
local MAX_PRUNE, DAY = 250, 86400000000
local doomed, seen, edges_left = {}, {}, 100

-- Who was parked before this, because nobody knew its task, has been for too long.
local unknown_since = tonumber(ARGV[5]) and string.format('(%.0f', now - tonumber(ARGV[5]))

local function bury(ids)
  local K = kit()
  local Z = enders(K)
  for i, record in ipairs(call('HMGET', JOBS, unpack(ids))) do
    local id, mark = ids[i], call('HGET', MARKS, ids[i])
    Z.leave(id, mark, record)
    call('HSET', NOTES, 'f' .. id, ARGV[7])
    edges_left = edges_left - (edges_left > 0 and K.let_all_go(id, edges_left) or 0)
    Z.finish(id, mark, 'd', 'unknown_task', now + tonumber(ARGV[6]), 8)
  end
  finish(K)
end

local strangers = unknown_since and call('ZRANGEBYSCORE', STRANGERS, '-inf', unknown_since, 'LIMIT', 0, MAX_UPKEEP) or {}
if #strangers > 0 then bury(strangers) end

local function doom(ids, most)
  for _, id in ipairs(ids) do
    if #doomed == MAX_PRUNE or most == 0 then return end
    if not seen[id] then
      seen[id] = true
      doomed[#doomed + 1] = id
      most = most - 1
    end
  end
end

local function over(key, cap)
  return call('ZCARD', key) - cap
end

doom(call('ZRANGEBYSCORE', TRACES, '-inf', now, 'LIMIT', 0, MAX_PRUNE), MAX_PRUNE)
doom(call('ZRANGEBYSCORE', KEPT, '-inf', now, 'LIMIT', 0, MAX_PRUNE), MAX_PRUNE)
for _, line in ipairs({{TRACES, tonumber(ARGV[3])}, {DEAD, tonumber(ARGV[4])}}) do
  local surplus = over(line[1], line[2])
  if surplus > 0 then
    local first, most = call('ZRANGE', line[1], 0, math.min(surplus, MAX_PRUNE) - 1), surplus
    -- What goes for its time, wherever it stands in the line, is too many no more.
    for _, score in ipairs(#doomed > 0 and call('ZMSCORE', line[1], unpack(doomed)) or {}) do
      if score then most = most - 1 end
    end
    doom(first, math.max(most, 0))
  end
end

-- An end that was not followed yet lets go of those it waited for before it goes; where those are too many for one call,
-- it stays for the next.
local function unfollowed()
  local K, left, ready_to_go = kit(), edges_left, {}
  for i, mark in ipairs(call('HMGET', MARKS, unpack(doomed))) do
    local waited = byte(mark, 19) % 32 > 15
    if waited and left > 0 then left = left - K.let_all_go(doomed[i], left) end
    if not waited or left > 0 then ready_to_go[#ready_to_go + 1] = doomed[i] end
  end
  doomed = ready_to_go
end

if #doomed > 0 and call('EXISTS', FOLLOW) == 1 then unfollowed() end
if #doomed > 0 then remove(doomed) end

local function more()
  local function kept_too_long(key)
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    return first and tonumber(first) <= now
  end
  return kept_too_long(TRACES) or kept_too_long(KEPT) or over(TRACES, tonumber(ARGV[3])) > 0
    or over(DEAD, tonumber(ARGV[4])) > 0 or unknown_since and call('ZCOUNT', STRANGERS, '-inf', unknown_since) > 0
end

-- Unique keys whose time has passed say nothing any more, nor do rates that are paid.
if call('EXISTS', KEYS[27], KEYS[29]) > 0 then S.limits(kit()).prune(MAX_PRUNE) end

-- Who fell asleep so long ago is dead.
call('ZREMRANGEBYSCORE', SLEEPERS, '-inf', now - DAY)

-- A worker is remembered while a lease has ended that may be its own: whoever takes it back goes by its terms.
local answer = {#doomed + #strangers, more() and 1 or 0, table.concat(strangers)}
local ended = call('ZCOUNT', LEASED, '-inf', now) > 0
for _, one in ipairs(call('ZRANGEBYSCORE', IDLE, '-inf', now - DAY, 'LIMIT', 0, 50)) do
  local is_worker, id = byte(one) == 119, sub(one, 3)
  local length = is_worker and terms_of(call('HGET', META, one)).length or 0
  local idle = now - call('ZSCORE', IDLE, one)
  if not is_worker then
    call('HDEL', META, one)
    call('ZREM', IDLE, one)
  elseif not ended and idle > length then
    call('HDEL', META, one, 'n:' .. id, 'g:' .. id)
    call('ZREM', IDLE, one)
    answer[#answer + 1] = id
  end
end
return answer
