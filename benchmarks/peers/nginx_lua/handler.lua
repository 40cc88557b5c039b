-- One WebSocket: every frame becomes a subrequest to php-fpm, its body goes back as a frame.
local server = require "nginx.websocket.server"

local socket, err = server:new({ timeout = 600000, max_payload_len = 2097152 })
if not socket then
    ngx.log(ngx.ERR, "handshake: ", err)
    return ngx.exit(444)
end

local script = ngx.var.script

while true do
    local data, kind, err = socket:recv_frame()
    if socket.fatal then
        return
    end
    if kind == "close" then
        socket:send_close()
        return
    elseif kind == "ping" then
        socket:send_pong(data)
    elseif kind == "text" or kind == "binary" then
        local answer = ngx.location.capture(script, { method = ngx.HTTP_POST, body = data })
        local body = answer.body
        if answer.status ~= 200 then
            body = '{"error":{"code":' .. answer.status .. ',"type":"upstream_error"}}'
        end
        if not socket:send_text(body) then
            return
        end
    end
end
