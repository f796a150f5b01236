-- KEYS: the stream, the hash of newest entries. ARGV: the group, then ids of entries.
-- Forgets entries wholly. A newer entry of the same job is left alone.

local group = ARGV[1]
for at = 2, #ARGV do
  local id = ARGV[at]
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry then
    local job = entry[2][2]
    if redis.call('HGET', KEYS[2], job) == id then
      redis.call('HDEL', KEYS[2], job)
    end
    redis.call('XACK', KEYS[1], group, id)
    redis.call('XDEL', KEYS[1], id)
  end
end
return redis.status_reply('OK')
