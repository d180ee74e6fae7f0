-- Notes or forgets that a process waits for a job to end.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 id (16 bytes), 4 the ear by which the process listens (26 characters), 5 `+` or `-`.
-- Returns  1 when the job has ended already or is not stored, so that a look is worth while; else 0.
-- Cost  at most 4 commands. At most 64 ears a job; a process beyond that looks now and then.
local id, ear = ARGV[3], ARGV[4]
local ears = call('HGET', INTEREST, id) or ''
local others = ''
for at = 1, #ears, 26 do
  local one = sub(ears, at, at + 25)
  if one ~= ear then others = others .. one end
end
if ARGV[5] == '-' then
  if others == '' then call('HDEL', INTEREST, id) else call('HSET', INTEREST, id, others) end
  return 0
end
local mark = call('HGET', MARKS, id)
if mark and kit().is_end(sub(mark, 1, 1)) or not mark and call('HEXISTS', JOBS, id) == 0 then return 1 end
if #others < 64 * 26 then call('HSET', INTEREST, id, others .. ear) end
return 0
