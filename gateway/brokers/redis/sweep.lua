-- Take channels that have ended off the lists. KEYS[1] is idle; ARGV: 1 base
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 500)
for _, channel in ipairs(ended) do
  if redis.call('EXISTS', ARGV[1] .. 'meta:' .. channel) == 0 then
    redis.call('ZREM', ARGV[1] .. 'channels', channel)
    redis.call('ZREM', KEYS[1], channel)
  end
end
return #ended
