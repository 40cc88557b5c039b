-- 3 name to publish under
local existed = redis.call('DEL', meta)
redis.call('DEL', stream)
for _, node in ipairs(redis.call('SMEMBERS', nodes)) do
  local members, held = names_of(node)
  redis.call('DEL', members)
  redis.call('SREM', held, channel)
end
redis.call('DEL', nodes)
redis.call('ZREM', base .. 'channels', channel)
redis.call('ZREM', base .. 'idle', channel)
if existed == 1 then redis.call('PUBLISH', ARGV[3], 'C') end
return existed
