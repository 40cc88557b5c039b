local found = redis.call('HMGET', meta, 'life', 'n', 'epoch', 'offset')
if not found[1] then return false end
return {tonumber(found[2] or 0), redis.call('XLEN', stream), found[3] or '', tonumber(found[4] or 0)}
