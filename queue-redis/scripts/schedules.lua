-- Shows schedules, by name.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 how many at most, and 4 the name to go on after or nothing; or 3 `=`, then names.
-- Returns  the time (8) and `1` if there are more, else `0`; then of each schedule that is stored its name and its record.
-- Cost  1 command, and one for each sixteen. At most 1,000, or 100 names, which the caller sees to.
local answer, most = {''}, tonumber(ARGV[3])
local names = most and names_between('(n' .. ARGV[4], '(o', most + 1, 1) or {unpack(ARGV, 4)}
answer[1] = pack('>I8', now) .. (show(answer, names, most) and '1' or '0')
return answer
