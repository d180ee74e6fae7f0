-- Removes ended jobs that were kept long enough, or are too many, and forgets workers and callers that are silent.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 the most traces, 4 the most dead letters.
-- Returns  how many jobs were removed, whether more are left (1 or 0), and each worker forgotten (16 bytes).
-- Cost  about 20 commands, one member of variadic ones for each job, two commands for each worker or caller and for each
--       block of up to 63 neighbours; while ends are still to be followed, 1 for each job that waited for others and 5 for
--       each edge. At most 250 jobs, 100 edges, 50 workers and callers.
local MAX_PRUNE, DAY = 250, 86400000000
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

-- Takes jobs out of the blocks that say in which order they came; an empty block is dropped.
local function leave_blocks(admissions)
  local left, numbers = {}, {}
  for _, n in ipairs(admissions) do
    local block = math.floor(n / BLOCK)
    if not left[block] then numbers[#numbers + 1] = block end
    left[block] = (left[block] or 0) + 1
  end
  for i, ids in ipairs(call('HMGET', BLOCKS, unpack(numbers))) do
    local block = numbers[i]
    local count = ids and byte(ids) - left[block] or 0
    if count > 0 then
      call('HSET', BLOCKS, block, string.char(count) .. sub(ids, 2))
    else
      call('HDEL', BLOCKS, block)
      call('ZREM', INDEX, block)
    end
  end
end

local function remove()
  local admissions, notes, gone = {}, {}, {}
  local youngest = call('HGET', META, 'youngest') or ZERO16
  for i, mark in ipairs(call('HMGET', MARKS, unpack(doomed))) do
    local id, state = doomed[i], sub(mark, 1, 1)
    admissions[i] = open('>I6', mark, 3)
    gone[state] = (gone[state] or 0) + 1
    if bit.band(byte(mark, 2), 8) ~= 0 then notes[#notes + 1] = 'f' .. id end
    if bit.band(byte(mark, 2), 16) ~= 0 then notes[#notes + 1] = 'r' .. id end
    if open('>I6', id) > open('>I6', youngest) then youngest = id end
  end
  call('ZREM', TRACES, unpack(doomed))
  call('ZREM', KEPT, unpack(doomed))
  call('ZREM', DEAD, unpack(doomed))
  call('HDEL', JOBS, unpack(doomed))
  call('HDEL', MARKS, unpack(doomed))
  call('HDEL', INTEREST, unpack(doomed))
  if #notes > 0 then call('HDEL', NOTES, unpack(notes)) end
  leave_blocks(admissions)
  for state, count in pairs(gone) do
    call('HINCRBY', META, 'p:' .. state, count)
  end
  call('HSET', META, 'youngest', youngest)
end

-- An end that was not followed yet lets go of those it waited for before it goes; where those are too many for one call,
-- it stays for the next.
local function unfollowed()
  local K, left, ready_to_go = kit(), 100, {}
  for i, mark in ipairs(call('HMGET', MARKS, unpack(doomed))) do
    local waited = byte(mark, 19) >= 16
    if waited then left = left - K.let_all_go(doomed[i], left) end
    if not waited or left > 0 then ready_to_go[#ready_to_go + 1] = doomed[i] end
  end
  doomed = ready_to_go
end

if #doomed > 0 and call('EXISTS', FOLLOW) == 1 then unfollowed() end
if #doomed > 0 then remove() end

local function more()
  local function kept_too_long(key)
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    return first and tonumber(first) <= now
  end
  return kept_too_long(TRACES) or kept_too_long(KEPT) or over(TRACES, tonumber(ARGV[3])) > 0
    or over(DEAD, tonumber(ARGV[4])) > 0
end

-- Who fell asleep so long ago is dead.
call('ZREMRANGEBYSCORE', SLEEPERS, '-inf', now - DAY)

-- A worker is remembered while a lease has ended that may be its own: whoever takes it back goes by its terms.
local answer = {#doomed, more() and 1 or 0}
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
