-- 10 'since' or 'newest', 11 epoch, 12 offset, 13 limit or -1
-- Answers offset, epoch, whether whole, and then offset, body, offset, body ...
if redis.call('EXISTS', meta) == 0 then return {0, '', ARGV[10] == 'newest' and 1 or 0} end
local epoch, offset = follow()
if not keeps then return {0, '', ARGV[10] == 'newest' and 1 or 0} end
redis.call('XTRIM', stream, 'MAXLEN', size)
expire(now_ms())
local answer = {offset, epoch, 1}
local entries
if ARGV[10] == 'since' then
  local missed = offset - tonumber(ARGV[12])
  local kept = redis.call('XLEN', stream)
  if ARGV[11] ~= epoch or missed < 0 or missed > kept then return {offset, epoch, 0} end
  if missed == 0 then return answer end
  entries = redis.call('XRANGE', stream, string.format('%.0f', tonumber(ARGV[12]) + 1), '+')
  if #entries ~= missed then return {offset, epoch, 0} end
else
  local limit = tonumber(ARGV[13])
  if limit == 0 then return answer end
  if limit < 0 then
    entries = redis.call('XRANGE', stream, '-', '+')
  else
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', limit)
    entries = {}
    for n = #newest, 1, -1 do entries[#entries + 1] = newest[n] end
  end
end
for _, entry in ipairs(entries) do
  answer[#answer + 1] = tonumber(string.match(entry[1], '^%d+'))
  answer[#answer + 1] = entry[2][4]
end
return answer
