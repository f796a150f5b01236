-- ARGV: how many at most. Takes the oldest; answers with their receipts.

local jobs = redis.call('LPOP', KEYS[1], ARGV[1])
if not jobs then
  -- Whoever comes next waits for a push, not for the echo of one.
  redis.call('DEL', KEYS[4])
  return {}
end
redis.call('SREM', KEYS[2], unpack(jobs))
local millis, micros = now()
local receipts, takings = {}, {}
for at, job in ipairs(jobs) do
  local receipt = string.format('%s-%04d %s', micros, at, job)
  receipts[at] = receipt
  takings[at * 2 - 1] = millis
  takings[at * 2] = receipt
end
redis.call('ZADD', KEYS[3], unpack(takings))
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- Others may be idle.
  ring()
end
return receipts
