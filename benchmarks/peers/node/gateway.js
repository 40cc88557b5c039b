// A minimal gateway: every frame one FastCGI request, the answer one frame.
'use strict';
const { WebSocketServer } = require('ws');
const { Pool, pairs } = require('./fastcgi.js');

const [port, socket, root, kept] = process.argv.slice(2);
const pool = new Pool(socket, Number(kept));
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(port),
  backlog: 4096,
  perMessageDeflate: false,
  maxPayload: 2 * 1024 * 1024,
});

server.on('connection', (client, request) => {
  const path = request.url.split('?')[0];
  const script = `${path}.php`;
  const values = {
    SCRIPT_FILENAME: root + script,
    SCRIPT_NAME: script,
    DOCUMENT_ROOT: root,
    REQUEST_METHOD: 'POST',
    REQUEST_URI: request.url,
    QUERY_STRING: '',
    CONTENT_TYPE: 'application/json',
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_PROTOCOL: 'HTTP/1.1',
    SERVER_SOFTWARE: 'node',
    SERVER_NAME: 'localhost',
    SERVER_ADDR: '127.0.0.1',
    SERVER_PORT: port,
    REMOTE_ADDR: request.socket.remoteAddress,
    REMOTE_PORT: request.socket.remotePort,
    REDIRECT_STATUS: '200',
  };
  for (const [name, value] of Object.entries(request.headers)) {
    values[`HTTP_${name.toUpperCase().replaceAll('-', '_')}`] = value;
  }
  const params = pairs(values);
  client.on('message', (data) => {
    pool.request(params, data, (body) => {
      client.send(body ?? '{"error":{"code":502,"type":"upstream_error"}}', { binary: false });
    });
  });
  client.on('error', () => {});
});
