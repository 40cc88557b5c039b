-- Answers id, "seq user", id, "seq user" ...
local answer = {}
for _, node in ipairs(redis.call('SMEMBERS', nodes)) do
  local members = names_of(node)
  for _, value in ipairs(redis.call('HGETALL', members)) do
    answer[#answer + 1] = value
  end
end
return answer
