-- 10 name to publish under, 11 node, 12 most subscribers or -1, 13 presence, 14 ids that were in
-- before ('1') or are new ('0'), then id, user, id, user ...
local now = now_ms()
local node, limit, presence, again = ARGV[11], tonumber(ARGV[12]), ARGV[13], ARGV[14] == '1'
local found = redis.call('HMGET', meta, 'life', 'o', 'n', 'p')
if explicit and not found[2] then return {'closed'} end
local members, held = names_of(node)
local count = tonumber(found[3] or 0)
if limit >= 0 and not again and count >= limit and redis.call('HEXISTS', members, ARGV[15]) == 0 then
  return {'full'}
end
if not found[1] then create() end
local epoch, offset = follow()
if found[4] ~= presence then redis.call('HSET', meta, 'p', presence) end
for n = 15, #ARGV, 2 do
  local id, user = ARGV[n], ARGV[n + 1]
  if redis.call('HEXISTS', members, id) == 0 then
    local seq = redis.call('HINCRBY', meta, 'seq', 1)
    redis.call('HSET', members, id, string.format('%.0f', seq) .. ' ' .. user)
    redis.call('HINCRBY', meta, 'n', 1)
    if presence == '1' then
      redis.call('PUBLISH', ARGV[10], 'J' .. cmsgpack.pack({id, user}))
    end
  end
end
redis.call('SADD', nodes, node)
redis.call('SADD', held, channel)
touch(now)
return {'ok', epoch, offset}
