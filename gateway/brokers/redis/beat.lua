-- A worker says that it lives, and learns who does not. KEYS[1]: hash-tagged zset of the living
-- by their last beat.
-- ARGV: 1 node, 2 after how many ms without a beat a worker is dead, 3 name of the zset of the
-- dead whose members are being taken out, by the last claim (same hash tag)
-- Answers whether the node was thought dead, then the dead that this worker is to clear away.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local alive, reaping, ttl = KEYS[1], ARGV[3], tonumber(ARGV[2])
local forgotten = not redis.call('ZSCORE', alive, ARGV[1]) or redis.call('ZSCORE', reaping, ARGV[1])
redis.call('ZADD', alive, now, ARGV[1])
local answer = {forgotten and 1 or 0}
for _, node in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', now - ttl, 'LIMIT', 0, 10)) do
  redis.call('ZREM', alive, node)
  redis.call('ZADD', reaping, now, node)
  answer[#answer + 1] = node
end
-- Whoever claimed these has died over it.
for _, node in ipairs(redis.call('ZRANGEBYSCORE', reaping, '-inf', now - 30000, 'LIMIT', 0, 10)) do
  redis.call('ZADD', reaping, now, node)
  answer[#answer + 1] = node
end
return answer
