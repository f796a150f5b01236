-- KEYS: the stream. ARGV: the group. Answers with how many entries nobody holds.

local held = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if held.err then
  return redis.call('XLEN', KEYS[1])
end
return redis.call('XLEN', KEYS[1]) - held[1]
