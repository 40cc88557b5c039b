-- What every script about a channel begins with.
--
-- Everything about one channel has names with the same hash tag in braces, so that in a cluster
-- it lies on one node; KEYS[1] leads the script there and the other names are made from `base`.
--   meta:CHANNEL          hash: life, epoch, offset, n (members), seq, o (opened), p (presence),
--                         i (idle ms), hu and ku (until when history and keys are to be kept)
--   stream:CHANNEL        the history; an entry's id is its offset
--   nodes:CHANNEL         set of the workers that hold members
--   members:NODE:CHANNEL  hash: id of the member -> "seq user"
--   held:NODE             set of the channels in which a worker holds members
--   channels, idle        zsets of the channels there are, by name; by the time of their end
local base, channel = ARGV[1], ARGV[2]
local meta = KEYS[1]
local stream = base .. 'stream:' .. channel
local nodes = base .. 'nodes:' .. channel

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function names_of(node)
  return base .. 'members:' .. node .. ':' .. channel, base .. 'held:' .. node
end

-- Let the channel end by itself when nothing holds it any more.
local function touch(now)
  local found = redis.call('HMGET', meta, 'o', 'n', 'i', 'hu', 'ku')
  if found[1] or tonumber(found[2] or 0) > 0 then
    redis.call('PERSIST', meta)
    redis.call('ZREM', base .. 'idle', channel)
  else
    local ends = now + tonumber(found[3] or 30000)
    ends = math.max(ends, tonumber(found[4] or 0), tonumber(found[5] or 0))
    redis.call('PEXPIREAT', meta, string.format('%.0f', ends))
    redis.call('ZADD', base .. 'idle', string.format('%.0f', ends), channel)
  end
end

local function take_out(node, id, now)
  local members, held = names_of(node)
  if redis.call('HDEL', members, id) == 0 then
    return false
  end
  if redis.call('EXISTS', members) == 0 then
    redis.call('SREM', nodes, node)
    redis.call('SREM', held, channel)
  end
  if redis.call('EXISTS', meta) == 1 and redis.call('HINCRBY', meta, 'n', -1) <= 0 then
    touch(now)
  end
  return true
end
