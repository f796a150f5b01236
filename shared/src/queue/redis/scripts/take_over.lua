-- ARGV: how many milliseconds ago at least, and how many at most. Takes over what was taken so long
-- ago, oldest first; answers with the receipts, which stay the same.

local millis = now()
local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', millis - ARGV[1], 'LIMIT', 0, ARGV[2])
if #old > 0 then
  local takings = {}
  for at, receipt in ipairs(old) do
    takings[at * 2 - 1] = millis
    takings[at * 2] = receipt
  end
  redis.call('ZADD', KEYS[3], unpack(takings))
end
return old
