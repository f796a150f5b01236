-- Stands in front of the scripts of a lane.
--
-- KEYS[1] is the list of jobs that wait, oldest first.
-- KEYS[2] is the set of the same jobs, to answer quickly whether one waits.
-- KEYS[3] is a sorted set of takings by their instants in milliseconds: '<instant>-<nth> <job>'.
-- KEYS[4] is the bell: a list with one element while something waits that nobody may know of.

local function ring()
  if redis.call('EXISTS', KEYS[4]) == 0 then
    redis.call('RPUSH', KEYS[4], '1')
  end
end

-- How many jobs wait. If one of the keys was lost alone, the set is made again from the list, so that
-- no job can be marked as waiting that does not.
local function waiting()
  local count = redis.call('LLEN', KEYS[1])
  if redis.call('SCARD', KEYS[2]) ~= count then
    redis.call('DEL', KEYS[2])
    for from = 0, count - 1, 1000 do
      redis.call('SADD', KEYS[2], unpack(redis.call('LRANGE', KEYS[1], from, from + 999)))
    end
  end
  return count
end

-- Puts those of at most 1,000 jobs at the end that do not wait already, as far as there is room beside
-- the `count` that wait. Answers with how many those were.
local function put(jobs, count, room)
  local new = {}
  if #jobs == 1 and room > 0 then
    -- Far the most frequent; adding to the set says whether it was new.
    new = redis.call('SADD', KEYS[2], jobs[1]) == 1 and jobs or {}
  elseif #jobs > 0 then
    local waits, twice = redis.call('SMISMEMBER', KEYS[2], unpack(jobs)), {}
    for at, job in ipairs(jobs) do
      if #new >= room then
        break
      end
      if waits[at] == 0 and not twice[job] then
        twice[job] = true
        new[#new + 1] = job
      end
    end
    if #new > 0 then
      redis.call('SADD', KEYS[2], unpack(new))
    end
  end
  if #new > 0 then
    redis.call('RPUSH', KEYS[1], unpack(new))
    -- For what waits longer, it was rung already.
    if count == 0 then
      ring()
    end
  end
  return #new
end

-- Now, in milliseconds, and in microseconds as a text that sorts like the instant.
local function now()
  local time = redis.call('TIME')
  local micros = string.format('%06d', time[2])
  return time[1] * 1000 + math.floor(time[2] / 1000), time[1] .. micros
end
