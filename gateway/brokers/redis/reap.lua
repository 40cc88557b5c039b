-- The members of a worker that is gone, or that says good-bye. KEYS[1] is its held:NODE.
-- ARGV: 1 base, 2 node, 3 what names to publish under begin with, 4 how many members at most
-- Answers how many channels are left to do.
local base, node, budget = ARGV[1], ARGV[2], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
while budget > 0 do
  local channel = redis.call('SRANDMEMBER', KEYS[1])
  if not channel then return 0 end
  local meta = base .. 'meta:' .. channel
  local members = base .. 'members:' .. node .. ':' .. channel
  local found = redis.call('HMGET', meta, 'life', 'p', 'o', 'i', 'hu', 'ku')
  local gone = redis.call('HSCAN', members, 0, 'COUNT', budget)[2]
  for n = 1, #gone, 2 do
    redis.call('HDEL', members, gone[n])
    budget = budget - 1
    if found[2] == '1' then
      local user = string.match(gone[n + 1], '^%d+ (.*)$') or ''
      redis.call('PUBLISH', ARGV[3] .. channel, 'L' .. cmsgpack.pack({gone[n], user}))
    end
  end
  if found[1] and #gone > 0 then
    local left = redis.call('HINCRBY', meta, 'n', -#gone / 2)
    if left <= 0 and not found[3] then
      local ends = math.max(now + tonumber(found[4] or 30000),
        tonumber(found[5] or 0), tonumber(found[6] or 0))
      redis.call('PEXPIREAT', meta, string.format('%.0f', ends))
      redis.call('ZADD', base .. 'idle', string.format('%.0f', ends), channel)
    end
  end
  if redis.call('EXISTS', members) == 0 then
    redis.call('SREM', base .. 'nodes:' .. channel, node)
    redis.call('SREM', KEYS[1], channel)
  end
  budget = budget - 1
end
return redis.call('SCARD', KEYS[1])
