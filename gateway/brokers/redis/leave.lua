-- 3 name to publish under, 4 node, then id, user, id, user ...
local now = now_ms()
local presence = redis.call('HGET', meta, 'p')
local gone = 0
for n = 5, #ARGV, 2 do
  if take_out(ARGV[4], ARGV[n], now) then
    gone = gone + 1
    if presence == '1' then
      redis.call('PUBLISH', ARGV[3], 'L' .. cmsgpack.pack({ARGV[n], ARGV[n + 1]}))
    end
  end
end
return gone
