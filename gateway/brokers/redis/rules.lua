-- The rules of the channel, and what follows from them.
local explicit = ARGV[3] == '1'
local size, ttl, idle = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local fresh, known_epoch, known_offset = ARGV[7], ARGV[8], tonumber(ARGV[9])
local keeps = size > 0 and ttl > 0

local function create()
  redis.call('HSET', meta, 'life', fresh, 'n', 0, 'i', idle)
  redis.call('ZADD', base .. 'channels', 0, channel)
end

-- Let the channel follow its rules; answers epoch and offset ('' and 0 without history).
local function follow()
  local found = redis.call('HMGET', meta, 'epoch', 'offset', 'i')
  if found[3] ~= idle then
    redis.call('HSET', meta, 'i', idle)
  end
  if not keeps then
    if found[1] then
      redis.call('HDEL', meta, 'epoch', 'offset', 'hu')
      redis.call('DEL', stream)
    end
    return '', 0
  end
  local epoch, offset = found[1], tonumber(found[2] or 0)
  -- A worker that has seen more than is here: the server came back with an older state.
  if not epoch or (epoch == known_epoch and known_offset > offset) then
    epoch, offset = fresh, 0
    redis.call('HSET', meta, 'epoch', epoch, 'offset', 0)
    redis.call('DEL', stream)
  end
  return epoch, offset
end

local function next_id(id)
  return string.format('%.0f', tonumber(string.match(id, '^%d+')) + 1)
end

-- Forget what is too old.
local function expire(now)
  local count = 1
  while true do
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', count)
    local last
    for _, entry in ipairs(oldest) do
      if tonumber(entry[2][2]) > now - ttl then break end
      last = entry[1]
    end
    if not last then return end
    redis.call('XTRIM', stream, 'MINID', next_id(last))
    count = 16
  end
end
