-- ARGV: the group, then ids of entries. Those that someone still holds go to the end of the stream,
-- under another id; those that nobody holds any more are passed over.

local group = ARGV[1]
read_group(group)
for at = 2, #ARGV do
  local id = ARGV[at]
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry and redis.call('XACK', KEYS[1], group, id) == 1 then
    redis.call('XDEL', KEYS[1], id)
    put(entry[2][2])
  end
end
return redis.status_reply('OK')
