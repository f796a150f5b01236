-- ARGV: how many jobs may wait at most, then the jobs. Answers with how many were new and went in.

local most = tonumber(table.remove(ARGV, 1))
local count = waiting()
return put(ARGV, count, most - count)
