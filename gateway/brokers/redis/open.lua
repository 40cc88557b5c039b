local found = redis.call('HMGET', meta, 'life', 'o')
if not found[1] then create() end
follow()
redis.call('HSET', meta, 'o', 1)
touch(now_ms())
return (found[1] and (found[2] or not explicit)) and 0 or 1
