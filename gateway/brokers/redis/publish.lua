-- 10 name to publish under, 11 body, 12 idempotency key or '', 13 how long keys count, in ms
local now = now_ms()
local found = redis.call('HMGET', meta, 'life', 'o', 'n')
if explicit and not found[2] then return {'closed'} end
local key = ARGV[12] ~= '' and base .. 'key:' .. channel .. '\n' .. ARGV[12]
if key and found[1] then
  local first = redis.call('HMGET', key, 'life', 'n', 'epoch', 'offset')
  if first[1] == found[1] then
    return {'again', tonumber(first[2]), first[3], tonumber(first[4])}
  end
end
local count, epoch, offset = tonumber(found[3] or 0), '', 0
if not found[1] and (keeps or key) then create() end
if found[1] or keeps or key then
  epoch, offset = follow()
  if keeps then
    offset = redis.call('HINCRBY', meta, 'offset', 1)
    local ends = string.format('%.0f', now + ttl)
    redis.call('XADD', stream, 'MAXLEN', size, offset .. '-0', 't', now, 'm', ARGV[11])
    redis.call('PEXPIREAT', stream, ends)
    redis.call('HSET', meta, 'hu', ends)
    expire(now)
  end
  if key then
    redis.call('DEL', key)
    redis.call('HSET', key, 'life', redis.call('HGET', meta, 'life'),
      'n', count, 'epoch', epoch, 'offset', offset)
    redis.call('PEXPIRE', key, ARGV[13])
    redis.call('HSET', meta, 'ku', string.format('%.0f', now + ARGV[13]))
  end
  if count <= 0 then touch(now) end
end
redis.call('PUBLISH', ARGV[10], 'P' .. string.format('%.0f', offset) .. ' ' .. epoch .. ' ' .. ARGV[11])
return {'ok', count, epoch, offset}
