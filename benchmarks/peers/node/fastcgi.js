// A small FastCGI client: a pool of kept connections over a unix socket and a queue.
'use strict';
const net = require('node:net');

const BEGIN_KEEP = Buffer.from([1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
const LARGEST = 65528;

function length(n) {
  return n < 128 ? Buffer.from([n]) : Buffer.from([(n >>> 24) | 0x80, n >>> 16, n >>> 8, n]);
}

function pairs(values) {
  const parts = [];
  for (const [name, value] of Object.entries(values)) {
    const n = Buffer.from(name);
    const v = Buffer.from(String(value));
    parts.push(length(n.length), length(v.length), n, v);
  }
  return Buffer.concat(parts);
}

function header(type, size) {
  return Buffer.from([1, type, 0, 1, size >>> 8, size & 255, 0, 0]);
}

// Writes a record header into `out`; the place behind it.
function head(out, at, type, size) {
  out[at] = 1;
  out[at + 1] = type;
  out[at + 2] = 0;
  out[at + 3] = 1;
  out[at + 4] = size >>> 8;
  out[at + 5] = size & 255;
  out[at + 6] = 0;
  out[at + 7] = 0;
  return at + 8;
}

class Connection {
  constructor(pool) {
    this.pool = pool;
    this.done = null;
    this.left = null;
    this.stdout = [];
    this.socket = net.connect(pool.path);
    this.socket.on('data', (chunk) => this.read(chunk));
    this.socket.on('error', () => {});
    this.socket.on('close', () => this.closed());
  }

  send(params, body, done) {
    this.done = done;
    if (body.length > LARGEST) {
      this.sendLarge(params, body);
      return;
    }
    // One buffer and one write a frame: this is the hot path.
    const digits = String(body.length);
    const size = params.length + 16 + digits.length;
    const out = Buffer.allocUnsafe(48 + size + body.length);
    BEGIN_KEEP.copy(out, 0);
    let at = head(out, 16, 4, size);
    at += params.copy(out, at);
    out[at++] = 14;
    out[at++] = digits.length;
    at += out.latin1Write('CONTENT_LENGTH', at);
    at += out.latin1Write(digits, at);
    at = head(out, at, 4, 0);
    if (body.length > 0) {
      at = head(out, at, 5, body.length);
      at += body.copy(out, at);
    }
    at = head(out, at, 5, 0);
    this.socket.write(out.subarray(0, at));
  }

  sendLarge(params, body) {
    const own = pairs({ CONTENT_LENGTH: body.length });
    const parts = [BEGIN_KEEP, header(4, params.length + own.length), params, own, header(4, 0)];
    for (let at = 0; at < body.length; at += LARGEST) {
      const piece = body.subarray(at, at + LARGEST);
      parts.push(header(5, piece.length), piece);
    }
    parts.push(header(5, 0));
    this.socket.write(Buffer.concat(parts));
  }

  read(chunk) {
    let data = this.left ? Buffer.concat([this.left, chunk]) : chunk;
    this.left = null;
    while (data.length >= 8) {
      const size = data.readUInt16BE(4);
      const end = 8 + size + data[6];
      if (data.length < end) break;
      if (data[1] === 6) this.stdout.push(data.subarray(8, 8 + size));
      else if (data[1] === 3) this.ended();
      data = data.subarray(end);
    }
    if (data.length > 0) this.left = data;
  }

  ended() {
    const answer = this.stdout.length === 1 ? this.stdout[0] : Buffer.concat(this.stdout);
    const blank = answer.indexOf('\r\n\r\n');
    const done = this.done;
    this.stdout = [];
    this.done = null;
    this.pool.free(this);
    done(blank < 0 ? null : answer.subarray(blank + 4));
  }

  closed() {
    this.pool.lost(this);
    if (this.done) this.done(null);
  }
}

class Pool {
  constructor(path, size) {
    this.path = path;
    this.size = size;
    this.open = 0;
    this.idle = [];
    this.waiting = [];
    this.first = 0;
  }

  // `done` gets the body, or null when there will be none.
  request(params, body, done) {
    if (this.idle.length > 0) {
      this.idle.pop().send(params, body, done);
    } else if (this.open < this.size) {
      this.open += 1;
      new Connection(this).send(params, body, done);
    } else {
      this.waiting.push([params, body, done]);
    }
  }

  free(connection) {
    const next = this.next();
    if (next) connection.send(...next);
    else this.idle.push(connection);
  }

  lost(connection) {
    this.open -= 1;
    this.idle = this.idle.filter((one) => one !== connection);
    const next = this.next();
    if (next) this.request(...next);
  }

  next() {
    if (this.first === this.waiting.length) return null;
    const next = this.waiting[this.first];
    this.first += 1;
    if (this.first > 1024 && this.first * 2 > this.waiting.length) {
      this.waiting = this.waiting.slice(this.first);
      this.first = 0;
    }
    return next;
  }
}

module.exports = { Pool, pairs };
