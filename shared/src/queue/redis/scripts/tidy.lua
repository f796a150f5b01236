-- KEYS: the stream. ARGV: the group, and for how many milliseconds a consumer must have been idle.
-- Removes consumers of holders that are gone. Removing one forgets what it holds, so only those that
-- hold nothing are removed. Answers with how many.

local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then
  return 0
end
local removed = 0
for _, one in ipairs(consumers) do
  local named = {}
  for at = 1, #one, 2 do
    named[one[at]] = one[at + 1]
  end
  if named['pending'] == 0 and named['idle'] >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], named['name'])
    removed = removed + 1
  end
end
return removed
