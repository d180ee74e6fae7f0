-- Settles and claims, in one step: the exchange of the contract, step by step.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 worker (16 bytes), 4 number, 5 how many jobs it wants, 6 how many of them may be
--       suspects, 7 the ear by which its process listens (26 characters) or nothing; then for each settlement a head (id 16,
--       fence 8, attempts 4, kind 1, kind of time 1, time 8) and a body. Kinds: c completed, C completed with the result
--       that is the body, t retry, s snooze, l release, d die, x cancel. The time is when it is due, or how long its end is
--       kept. The body of t is the failure; that of d and x the length of its reason (1), the reason, the failure or nothing;
--       that of s for how long the rates it is under are closed (8), or nothing.
-- Returns  `ok`, a head (now 8, fence 8, end of the leases 8, look again after 8, flags 1: 1 if suspects are
--       left, 2 if something stands in the outbox, 4 if a schedule is due, 8 if anyone watches the shard), for each settlement
--       `1` if it is written, `x` if a cancellation is instead and `0` if its lease was lost, the tasks parked that are unknown here with a NUL after each, what became of those whose leases were
--       taken back or that ended without a settlement (state's letter and id of each), and for each job claimed its id and mark (the id alone if it is as it was taken in), its record, its failure,
--       history, progress and limits if its mark says that it has such, and what those it waited for hand on (handed); or
--       `unknown`; or `superseded` and the number that came first.
-- Cost  11 commands, 1 more while a schedule is due, 6 more to settle and 8 more to claim, and for each job settled or
--       claimed one member of some variadic ones; 2 for each parked job claimed and for each task of which some are parked, up to 8 for each job expired or
--       revoked, up to 2 for each limit or history of a job that goes on, 3 for what was handed on to a job and 1 for each failure of
--       that; for each job with keys up to 6 when it starts and 9
--       for each slot that it leaves, 5 for each job parked for a rate that comes back. At most 256 settlements, 200 edges of about 5 commands, 100
--       promotions, 100 expiries, 100 reclaims out of 300 leases looked at, 256 claims out of 256 heads, 4 MiB of envelopes.
local worker, number, want, suspects_wanted, ear = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local kept = call('HMGET', META, 'seq', 'fence', 'seen', 'spare', 'silent', 'back', 'w:' .. worker, 'n:' .. worker, 'rules', 'opens',
  'paid', 'ticks', 'watch')
local record_of_worker, last = kept[7], kept[8]
if not record_of_worker then return {'unknown'} end
local last_number, last_fence, asleep = 0, 0, nil
if last then
  last_number, last_fence = open('>I8I8', last)
  asleep = byte(last, 17) == 1 and sub(last, 18, 43)
end
if last and number < last_number then return {'superseded', last_number} end
S.sequence = tonumber(kept[1]) or 0

local terms = terms_of(record_of_worker)
local seen, spare, silent = tonumber(kept[3]), tonumber(kept[4]) or 0, tonumber(kept[5]) or 0
if kept[6] or seen and (now < seen or now - seen > 2 * terms.renew) then
  spare, silent = note(terms, kept[3], kept[4], kept[5], kept[6])
end
local lease_end = string.format('%.0f', now + terms.length)
local K, Z, more = nil, nil, false
-- What people say of the shard, and until when its starts are paid for; when jobs parked for a rate are looked at next.
local rules, paid = kept[9] and rules_of(kept[9], worker), tonumber(kept[11]) or 0
S.opens = tonumber(kept[10])
-- When the first schedule is due, and whether it is already.
local ticks = tonumber(kept[12])
local is_ticking = ticks ~= nil and ticks <= now
local is_watched = now < (tonumber(kept[13]) or 0)

-- After how long another look is worth while, given the earliest due time, and that at which a job expires if one does.
local function look_again(due)
  local call, LEASED, now, ends = redis.call, KEYS[10], S.now, nil
  if S.expiring then
    local over = tonumber((call('ZRANGE', KEYS[21], 0, 0, 'WITHSCORES')[2]))
    due = due and over and math.min(due, over) or due or over
  end
  if S.opens then due = math.min(due or S.opens, S.opens) end
  if is_ticking then
    local member = call('ZRANGEBYLEX', KEYS[32], '(d' .. struct.pack('>I8', now) .. '\255', '(e', 'LIMIT', 0, 1)[1]
    local next_tick = member and struct.unpack('>I8', member, 2)
    due = next_tick and math.min(due or next_tick, next_tick) or due
  end
  local resumes, opens = rules and rules.ends, rules and rules.opens(paid)
  if resumes then due = math.min(due or resumes, resumes) end
  if opens then due = math.min(due or opens, opens) end
  due = due and math.max(due - now, 0)
  local first = call('ZRANGE', LEASED, 0, 0, 'WITHSCORES')[2]
  if not first then return due end
  ends = math.max(tonumber(first), spare) - now
  if ends <= 0 then
    local next_end = call('ZRANGEBYSCORE', LEASED, string.format('(%.0f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    ends = next_end and tonumber(next_end) - now
  end
  ends = math.min(ends or terms.renew * 1.5, terms.renew * 1.5)
  return due and math.min(due, ends) or ends
end

local function head_of(fence, look, suspects_left, posted)
  return struct.pack('>I8I8I8', S.now, fence, lease_end) .. (look and struct.pack('>I8', look) or string.rep('\255', 8))
    .. string.char((suspects_left and 1 or 0) + (posted and 2 or 0) + (is_ticking and 4 or 0) + (is_watched and 8 or 0))
end

-- What a claimed job with a mark is answered with: id and mark, record, its last failure, history, progress unless it is
-- `new` to this run, limits, what those it waited for hand on.
local function give(answer, id, mark, record, is_new)
  local call, byte, band = redis.call, string.byte, bit.band
  answer[#answer + 1] = id .. mark
  answer[#answer + 1] = record
  if band(byte(mark, 2), 8) ~= 0 then
    answer[#answer + 1] = call('HGET', KEYS[4], 'f' .. id)
  end
  if band(byte(mark, 2), 128) ~= 0 then
    answer[#answer + 1] = call('HGET', KEYS[4], 'h' .. id)
    answer[#answer + 1] = not is_new and call('HGET', KEYS[4], 'p' .. id)
  end
  if band(byte(mark, 19), 32) ~= 0 then
    answer[#answer + 1] = call('HGET', KEYS[4], 'l' .. id)
  end
  if band(byte(mark, 19), 16) ~= 0 then
    K = K or kit()
    S.handed(K).add(answer, K.read(record).parents)
  end
end

-- 1. Number. The same one answers the same.
if last and number == last_number then
  K = kit()
  S.expiring = true
  local settled_count = open('>I2', last, 44)
  local answer, fence = {'ok', '', sub(last, 46, 45 + settled_count), '', ''}, pack('>I8', last_fence) .. worker
  for at = 46 + settled_count, #last, 16 do
    local id = sub(last, at, at + 15)
    local mark = call('HGET', MARKS, id)
    if mark and byte(mark) == 108 and sub(mark, 44, 67) == fence then
      call('ZADD', LEASED, 'XX', lease_end, id)
      give(answer, id, mark, call('HGET', JOBS, id))
    end
  end
  -- A pause that has ended since it was told is for a repeat to tell.
  local due = rules and rules.ended and now or K.next_due()
  if ticks and not is_ticking then due = math.min(due or ticks, ticks) end
  answer[2] = head_of(last_fence, look_again(due), call('EXISTS', SUSPECTS) == 1, call('EXISTS', KEYS[30]) == 1)
  call('HSET', META, 'seen', now)
  call('ZADD', IDLE, now, 'w:' .. worker)
  return answer
end
-- Who only settles and was asleep sleeps on.
if asleep and want > 0 then call('ZREM', SLEEPERS, asleep .. worker) end
