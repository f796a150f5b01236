-- ARGV: the group, how many jobs may wait at most, then the jobs. Answers with how many were new and
-- went in.

read_group(ARGV[1])
local room = tonumber(ARGV[2]) - (redis.call('XLEN', KEYS[1]) - held)
local new = 0
for at = 3, #ARGV do
  if new >= room then
    break
  end
  new = new + put(ARGV[at])
end
return new
