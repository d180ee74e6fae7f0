-- Shows jobs in the order in which they were taken in.
--
-- KEYS  all of the shard.
-- ARGV  1 clock, 2 PUBLISH or SPUBLISH, 3 the block and 4 the place in it to go on from, 5 the most jobs, 6 only this
--       state's letter or nothing, 7 only this task or nothing.
-- Returns  block and place to go on from, or nothing twice at the end; then the six parts of each job.
-- Cost  4 commands for each block of up to 63 jobs looked at, up to 5 for each job shown. At most 1,000 jobs and 4 MiB.
local limit, state, task = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local MAX_LOOKED, MAX_BYTES = 1000, 4194304
local answer, shown, looked, bytes = {false, false}, 0, 0, 0

local K = kit()

local function state_of(record, mark)
  if mark then return sub(mark, 1, 1) end
  return K.read(record).kind == 'n' and 'r' or 's'
end

local function fits(record, mark)
  return (state == '' or state_of(record, mark) == state) and (task == '' or sub(record, 9, 8 + byte(record, 8)) == task)
end

-- Walks one block from a place on; answers where it stopped for a bound. A job that was pruned and taken in anew stands
-- where it last came.
local function walk(number, ids, from)
  local wanted, last = {}, {}
  for at = from, (#ids - 1) / 16 - 1 do
    local id = sub(ids, 2 + at * 16, 17 + at * 16)
    wanted[#wanted + 1] = id
    last[id] = #wanted
  end
  if #wanted == 0 then return end
  local records, marks = call('HMGET', JOBS, unpack(wanted)), call('HMGET', MARKS, unpack(wanted))
  for i, id in ipairs(wanted) do
    if shown == limit or looked == MAX_LOOKED or bytes >= MAX_BYTES then return from + i - 1 end
    looked = looked + 1
    local here = records[i] and last[id] == i and math.floor(open('>I6', records[i]) / BLOCK) == number
    if here and fits(records[i], marks[i]) then
      shown, bytes = shown + 1, bytes + #records[i]
      show(answer, id, records[i], marks[i])
    end
  end
end

local from, block = tonumber(ARGV[4]), tonumber(ARGV[3])
while true do
  local numbers = call('ZRANGEBYSCORE', INDEX, block, '+inf', 'LIMIT', 0, 1)
  if #numbers == 0 then return answer end
  local number = tonumber(numbers[1])
  local place = walk(number, call('HGET', BLOCKS, numbers[1]), number == block and from or 0)
  if place then
    answer[1], answer[2] = numbers[1], tostring(place)
    return answer
  end
  block, from = number + 1, 0
end
