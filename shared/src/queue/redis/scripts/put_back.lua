-- ARGV: receipts. Jobs that someone still holds go to the end of the lane; those that nobody holds any
-- more are passed over.

local count = waiting()
local since = redis.call('ZMSCORE', KEYS[3], unpack(ARGV))
local receipts, jobs = {}, {}
for at, receipt in ipairs(ARGV) do
  if since[at] then
    receipts[#receipts + 1] = receipt
    jobs[#jobs + 1] = string.match(receipt, ' (.*)$')
  end
end
if #receipts > 0 then
  redis.call('ZREM', KEYS[3], unpack(receipts))
  put(jobs, count, #jobs)
end
return redis.status_reply('OK')
