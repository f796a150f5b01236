-- Stands in front of the scripts that put jobs in.
--
-- KEYS[1] is the stream of the lane: one entry for each job, until someone is done with it.
-- KEYS[2] is a hash from jobs to the ids of their newest entries.
--
-- A job waits if its newest entry is in the stream and has been delivered to nobody. This is asked
-- anew each time, so that neither a reader that dies nor a key that is lost can leave a job marked as
-- waiting that is not.

local delivered_ms, delivered_seq = 0, 0
local held = 0

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function read_group(group)
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  if groups.err then
    return
  end
  for _, one in ipairs(groups) do
    local named = {}
    for at = 1, #one, 2 do
      named[one[at]] = one[at + 1]
    end
    if named['name'] == group then
      delivered_ms, delivered_seq = parts(named['last-delivered-id'])
      held = named['pending']
    end
  end
end

local function waits(job)
  local id = redis.call('HGET', KEYS[2], job)
  if not id then
    return false
  end
  local ms, seq = parts(id)
  if ms < delivered_ms or (ms == delivered_ms and seq <= delivered_seq) then
    return false
  end
  -- A stream that was lost and made again within a millisecond gives the same id to another job.
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  return entry ~= nil and entry[2][2] == job
end

-- Answers with 1 if the job was new, else with 0.
local function put(job)
  if waits(job) then
    return 0
  end
  local id = redis.call('XADD', KEYS[1], '*', 'job', job)
  redis.call('HSET', KEYS[2], job, id)
  return 1
end
