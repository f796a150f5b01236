-- ARGV: the group, then the jobs. Answers with how many were new.

read_delivered(ARGV[1])
local new = 0
for at = 2, #ARGV do
  new = new + put(ARGV[at])
end
return new
