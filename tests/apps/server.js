// The Node server that the tests put behind Outrigger: the routes of app.py, with the standard library alone.
//
// ACCESS_LOG names a file that gets one line a request, written when the request has come to the app. EXIT_CODE is what
// it ends with after SIGTERM, once every open request is answered. PORT, or the first argument, is where it listens.
'use strict';

const crypto = require('node:crypto');
const { EventEmitter } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const zlib = require('node:zlib');

const BLOCK = Buffer.alloc(65536, Uint8Array.from({ length: 256 }, (_, i) => i));
const EVENTS = 5;
const SLOW_MS_MAX = 10_000;
const MESSAGE_BYTES_MAX = 1 << 20; // More than that in one websocket message: the connection is closed.

const log = fs.openSync(process.env.ACCESS_LOG || '/dev/null', 'a', 0o600);

function json(reply, status, value) {
  const body = JSON.stringify(value);
  reply.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  reply.end(body);
}

function echo(request, reply) {
  const digest = crypto.createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk) => {
    digest.update(chunk);
    bytes += chunk.length;
  });
  request.on('end', () => json(reply, 200, { sha256: digest.digest('hex'), bytes }));
}

function download(reply, size) {
  reply.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size });
  let left = size;
  const more = () => {
    while (left > 0) {
      const block = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
      left -= block.length;
      if (!reply.write(block)) return reply.once('drain', more);
    }
    reply.end();
  };
  more();
}

// A body under a Content-Encoding; what is not gzip stands for one that nobody knows.
function encoded(reply, coding) {
  const body = coding === 'gzip' ? zlib.gzipSync(Buffer.concat([BLOCK, BLOCK])) : Buffer.from(BLOCK).reverse();
  reply.setHeader('X-Two', ['b', 'a']);
  reply.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': coding, vary: 'Accept-Encoding' });
  reply.end(body);
}

// Each event but the first is sent only when /step was asked for: what is held back on the way never goes on.
const steps = new EventEmitter();
function stepwise(reply) {
  reply.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  let n = 0;
  const next = () => {
    reply.write(`id: ${n}\ndata: step ${n}\n\n`);
    n += 1;
    if (n < EVENTS) return;
    steps.off('step', next);
    reply.end();
  };
  steps.on('step', next);
  next();
}

function sse(reply) {
  reply.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  let n = 0;
  const next = () => {
    reply.write(`id: ${n}\ndata: event ${n}\n\n`);
    n += 1;
    if (n < EVENTS) setTimeout(next, 50);
    else reply.end();
  };
  next();
}

let ending = false;

const server = http.createServer((request, reply) => {
  // Otherwise the end would wait for kept connections to be idle for long enough.
  if (ending) reply.setHeader('connection', 'close');
  else reply.on('finish', () => ending && setImmediate(() => server.closeIdleConnections()));
  const url = new URL(request.url, 'http://app');
  fs.writeSync(log, `${request.method} ${url.pathname}\n`);
  const number = (name) => Number(url.searchParams.get(name) || 0);
  const route = `${request.method} ${url.pathname}`;
  if (route === 'GET /hello') json(reply, 200, { app: 'node', n: number('n') });
  else if (route === 'POST /echo') echo(request, reply);
  else if (route === 'GET /download') download(reply, number('size'));
  else if (route === 'GET /slow') {
    setTimeout(() => json(reply, 200, { slept_ms: number('ms') }), Math.min(number('ms'), SLOW_MS_MAX));
  } else if (route === 'GET /sse') sse(reply);
  else if (route === 'GET /steps') stepwise(reply);
  else if (route === 'POST /step') {
    steps.emit('step');
    json(reply, 200, {});
  } else if (route === 'GET /where') json(reply, 200, { port: server.address().port });
  else if (route === 'GET /closes') json(reply, 200, closes);
  else if (route.startsWith('GET /encoded/')) encoded(reply, url.pathname.slice('/encoded/'.length));
  else if (route.startsWith('GET /status/')) {
    const status = Number(url.pathname.slice('/status/'.length));
    json(reply, status, { status });
  } else json(reply, 404, { detail: 'Not Found' });
});

// RFC 6455, section 5.2: a frame is FIN and opcode, MASK and length, the mask, the payload. An echo needs no more.
function frame(opcode, payload) {
  const long = payload.length > 65535;
  const head = Buffer.alloc(payload.length < 126 ? 2 : long ? 10 : 4);
  head[0] = 0x80 | opcode;
  head[1] = payload.length < 126 ? payload.length : long ? 127 : 126;
  if (long) head.writeBigUInt64BE(BigInt(payload.length), 2);
  else if (payload.length >= 126) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

// One whole frame from the front of `data`, or null when there is more to come.
function parse(data) {
  if (data.length < 2) return null;
  const short = data[1] & 0x7f;
  const head = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (data.length < head + 4) return null;
  const length = short < 126 ? short : short === 126 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
  if (length > MESSAGE_BYTES_MAX || !(data[1] & 0x80)) throw new Error('refused frame'); // A client must mask.
  if (data.length < head + 4 + length) return null;
  const mask = data.subarray(head, head + 4);
  const payload = Buffer.from(data.subarray(head + 4, head + 4 + length));
  for (let i = 0; i < payload.length; i += 1) payload[i] ^= mask[i % 4];
  return { final: Boolean(data[0] & 0x80), opcode: data[0] & 0x0f, payload, size: head + 4 + length };
}

const CLOSE = 'close '; // A websocket message that begins with it asks for a close with the code that follows.
const closes = []; // The close codes that websockets ended with, as the app heard them.
const tunnels = new Set();

server.on('upgrade', (request, socket, first) => {
  fs.writeSync(log, `WEBSOCKET ${new URL(request.url, 'http://app').pathname}\n`);
  const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
  socket.write(`${[...head, `Sec-WebSocket-Accept: ${accept}`].join('\r\n')}\r\n\r\n`);
  tunnels.add(socket);
  let data = first;
  let parts = { opcode: 0, payloads: [] };
  let closing = false;
  const answer = ({ final, opcode, payload }) => {
    if (opcode === 8) {
      closes.push(payload.length < 2 ? 1005 : payload.readUInt16BE(0));
      return closing ? socket.end() : socket.end(frame(8, payload.subarray(0, 2)));
    }
    if (opcode === 9) return socket.write(frame(10, payload));
    if (opcode === 10) return undefined;
    if (opcode !== 0) parts = { opcode, payloads: [] };
    parts.payloads.push(payload);
    if (!final) return undefined;
    const message = Buffer.concat(parts.payloads);
    if (parts.opcode === 1 && message.toString().startsWith(CLOSE)) {
      const code = Buffer.alloc(2);
      code.writeUInt16BE(Number(message.toString().slice(CLOSE.length)));
      closing = true;
      return socket.write(frame(8, Buffer.concat([code, Buffer.from('as you wish')])));
    }
    return socket.write(frame(parts.opcode, message));
  };
  const take = (chunk) => {
    data = Buffer.concat([data, chunk]);
    try {
      for (let got = parse(data); got; got = parse(data)) {
        data = data.subarray(got.size);
        answer(got);
      }
    } catch {
      socket.destroy();
    }
  };
  socket.on('data', take);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => tunnels.delete(socket));
  if (first.length > 0) take(Buffer.alloc(0));
});

process.on('SIGTERM', () => {
  ending = true;
  for (const socket of tunnels) socket.destroy();
  server.close(() => process.exit(Number(process.env.EXIT_CODE || 0)));
  server.closeIdleConnections();
});

server.listen(Number(process.argv[2] || process.env.PORT || 0), '127.0.0.1', () => {
  process.stderr.write(`Node running on http://127.0.0.1:${server.address().port}\n`);
});
