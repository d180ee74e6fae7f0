-- Removes ended jobs that were kept long enough, or are too many, lets jobs die whose task nobody has known for too long,
-- and forgets workers and callers that are silent, unique keys whose time has passed and rates that are paid.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 the most traces, 4 the most dead letters, 5 for how long a task may be unknown, or
--       nothing, 6 how long those dead are kept, 7 their failure.
-- Returns  how many jobs were removed or died, whether more are left (1 or 0), the ids of those that died, and each worker
--       forgotten (16 bytes).
-- Cost  about 27 commands, one member of variadic ones for each job, two commands for each worker or caller and for each
--       block of up to 63 neighbours, 7 for each job that dies, and one more if it waited for others, for each hundred of these 3; 2 for each job that waited for others and up to 3 for each of
--       these that it still kept, after which it looks once more. At most 250 jobs, those let go of among them (but for the
--       last), 100 deaths, 50 workers and callers, 250 unique keys and rates of either.
local MAX_PRUNE, DAY = 250, 86400000000
local K

-- Who was parked before this, because nobody knew its task, has been for too long.
local unknown_since = tonumber(ARGV[5]) and string.format('(%.0f', now - tonumber(ARGV[5]))

local function bury(ids)
  K = kit()
  local Z = enders(K)
  for i, record in ipairs(call('HMGET', JOBS, unpack(ids))) do
    local id, mark = ids[i], call('HGET', MARKS, ids[i])
    Z.leave(id, mark, record)
    call('HSET', NOTES, 'f' .. id, ARGV[7])
    -- It may have to go in this very call, and nobody follows who has gone: what it waited for is kept for it at once.
    local is_tied = byte(mark, 19) % 32 > 15
    repeat
      local kept = is_tied and S.edges(K).keep_all(id, 100) or 0
    until kept < 100
    Z.finish(id, mark, 'd', 'unknown_task', now + tonumber(ARGV[6]), 8, true)
  end
  finish(K)
end

local strangers = unknown_since and call('ZRANGEBYSCORE', STRANGERS, '-inf', unknown_since, 'LIMIT', 0, MAX_UPKEEP) or {}
if #strangers > 0 then bury(strangers) end

local function over(key, cap)
  return call('ZCARD', key) - cap
end

-- The first dead letters, as many as are not kept for others.
local function first_dead(count)
  local ids = call('ZRANGE', DEAD, 0, math.min(count, MAX_PRUNE) + MAX_UPKEEP - 1)
  local free = {}
  for i, kept in ipairs(#ids > 0 and call('ZMSCORE', KEPT, unpack(ids)) or {}) do
    if kept then free[#free + 1] = ids[i] end
  end
  return free
end

-- Those that are to go: what was kept too long, and then what is too many.
local function doomed_now()
  local doomed, seen = {}, {}

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

  doom(call('ZRANGEBYSCORE', TRACES, '-inf', now, 'LIMIT', 0, MAX_PRUNE), MAX_PRUNE)
  doom(call('ZRANGEBYSCORE', KEPT, '-inf', now, 'LIMIT', 0, MAX_PRUNE), MAX_PRUNE)
  for _, line in ipairs({{TRACES, tonumber(ARGV[3])}, {DEAD, tonumber(ARGV[4])}}) do
    local surplus = over(line[1], line[2])
    if surplus > 0 then
      local first = line[1] == DEAD and first_dead(surplus) or call('ZRANGE', TRACES, 0, math.min(surplus, MAX_PRUNE) - 1)
      local most = surplus
      -- What goes for its time, wherever it stands in the line, is too many no more.
      for _, score in ipairs(#doomed > 0 and call('ZMSCORE', line[1], unpack(doomed)) or {}) do
        if score then most = most - 1 end
      end
      doom(first, math.max(most, 0))
    end
  end
  return doomed
end

-- What goes lets go of what it kept itself, whole, as long as there is room for it; so more may have to go. Answers how many
-- were let go of.
local function remove_round(doomed, room)
  local going, marks, let_go = {}, {}, 0
  for i, mark in ipairs(call('HMGET', MARKS, unpack(doomed))) do
    if #going + let_go >= room then break end
    if byte(mark, 19) % 32 > 15 then
      K = K or kit()
      let_go = let_go + S.edges(K).let_all_go(doomed[i], math.huge)
    end
    going[#going + 1], marks[#marks + 1] = doomed[i], mark
  end
  remove(going, marks)
  return #going, let_go
end

local removed, room = 0, MAX_PRUNE
repeat
  local doomed, going, let_go = doomed_now(), 0, 0
  if #doomed > 0 then going, let_go = remove_round(doomed, room) end
  removed, room = removed + going, room - going - let_go
until let_go == 0 or room <= 0

local function more()
  local function kept_too_long(key)
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    return first and tonumber(first) <= now
  end
  return kept_too_long(TRACES) or kept_too_long(KEPT) or over(TRACES, tonumber(ARGV[3])) > 0
    or over(DEAD, tonumber(ARGV[4])) > 0 and #first_dead(0) > 0
    or unknown_since and call('ZCOUNT', STRANGERS, '-inf', unknown_since) > 0
end

-- Unique keys whose time has passed say nothing any more, nor do rates that are paid.
if call('EXISTS', KEYS[27], KEYS[29]) > 0 then S.limits(kit()).prune(MAX_PRUNE) end

-- Who fell asleep so long ago is dead.
call('ZREMRANGEBYSCORE', SLEEPERS, '-inf', now - DAY)

-- A worker is remembered while a lease has ended that may be its own: whoever takes it back goes by its terms.
local answer = {removed + #strangers, more() and 1 or 0, table.concat(strangers)}
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
