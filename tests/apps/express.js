// The Express server that the tests put behind Outrigger: the routes of app.py, with express, its body parsers and its
// static files, and the websocket server most used with it. Its limits are the library's own: 100 kB a body, and idle
// connections are closed after five seconds.
//
// ACCESS_LOG and EXIT_CODE are as in server.js, FILES as in app.py. CONNECTION_LOG names a file that gets one line when
// a connection has ended.
'use strict';

const crypto = require('node:crypto');
const { EventEmitter } = require('node:events');
const fs = require('node:fs');
const zlib = require('node:zlib');
const express = require('express');
const { WebSocketServer } = require('ws');

const BLOCK = Buffer.alloc(65536, Uint8Array.from({ length: 256 }, (_, i) => i));
const EVENTS = 5;
const SLOW_MS_MAX = 10_000;

const log = fs.openSync(process.env.ACCESS_LOG || '/dev/null', 'a', 0o600);
const connections = fs.openSync(process.env.CONNECTION_LOG || '/dev/null', 'a', 0o600);
const app = express();
const steps = new EventEmitter();
const closes = [];
let ending = false;

app.use((request, reply, next) => {
  fs.writeSync(log, `${request.method} ${request.path}\n`);
  if (ending) reply.set('connection', 'close');
  else reply.on('finish', () => ending && setImmediate(() => server.closeIdleConnections()));
  next();
});

app.get('/hello', (request, reply) => reply.json({ app: 'express', n: Number(request.query.n || 0) }));
app.get('/where', (request, reply) => reply.json({ port: server.address().port }));
app.get('/closes', (request, reply) => reply.json(closes));
app.get('/status/:code', (request, reply) => {
  const status = Number(request.params.code);
  reply.status(status).json({ status });
});
app.get('/slow', (request, reply) => {
  const ms = Number(request.query.ms);
  setTimeout(() => reply.json({ slept_ms: ms }), Math.min(ms, SLOW_MS_MAX));
});

// The body is digested as it comes, never held whole.
app.post('/echo', (request, reply) => {
  const digest = crypto.createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk) => {
    digest.update(chunk);
    bytes += chunk.length;
  });
  request.on('end', () => reply.json({ sha256: digest.digest('hex'), bytes }));
});

// The library's own body parser: what is too large for it is answered 413 when all of it has been read and dropped.
app.post('/raw', express.raw({ type: () => true }), (request, reply) => reply.json({ bytes: request.body.length }));

// A refusal at sight, as a check of a length or a token makes it; `close` ends the connection, too.
app.post('/refused', (request, reply) => {
  if (request.query.close) reply.set('connection', 'close');
  reply.status(413).json({ error: 'refused' });
});

app.get('/download', (request, reply) => {
  let left = Number(request.query.size);
  reply.set({ 'content-type': 'application/octet-stream', 'content-length': String(left) });
  const more = () => {
    while (left > 0) {
      const block = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
      left -= block.length;
      if (!reply.write(block)) return reply.once('drain', more);
    }
    return reply.end();
  };
  more();
});

const events = (reply) => {
  reply.set({ 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  reply.flushHeaders();
};

app.get('/sse', (request, reply) => {
  events(reply);
  let n = 0;
  const next = () => {
    reply.write(`id: ${n}\ndata: event ${n}\n\n`);
    n += 1;
    if (n < EVENTS) setTimeout(next, 50);
    else reply.end();
  };
  next();
});

// Each event but the first is sent only when /step was asked for: what is held back on the way never goes on.
app.get('/steps', (request, reply) => {
  events(reply);
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
});
app.post('/step', (request, reply) => {
  steps.emit('step');
  reply.json({});
});

// A body under a Content-Encoding; what is not gzip stands for one that nobody knows.
app.get('/encoded/:coding', (request, reply) => {
  const { coding } = request.params;
  reply.set({ 'content-encoding': coding, vary: 'Accept-Encoding', 'X-Two': ['b', 'a'] });
  const body = coding === 'gzip' ? zlib.gzipSync(Buffer.concat([BLOCK, BLOCK])) : Buffer.from(BLOCK).reverse();
  reply.type('text/plain').end(body);
});

if (process.env.FILES) app.use('/files', express.static(process.env.FILES));

const server = app.listen(Number(process.argv[2] || process.env.PORT || 0), '127.0.0.1', () => {
  process.stderr.write(`Express running on http://127.0.0.1:${server.address().port}\n`);
});

server.on('connection', (socket) => socket.on('close', () => fs.writeSync(connections, 'ended\n')));

const sockets = new WebSocketServer({ server, path: '/ws' });
sockets.on('connection', (socket) => {
  fs.writeSync(log, 'WEBSOCKET /ws\n');
  socket.on('message', (message, isBinary) => {
    const wish = /^close (\d+)$/.exec(isBinary ? '' : message.toString());
    if (wish) socket.close(Number(wish[1]), 'as you wish');
    else socket.send(message, { binary: isBinary });
  });
  socket.on('close', (code) => closes.push(code));
  socket.on('error', () => socket.terminate());
});

process.on('SIGTERM', () => {
  ending = true;
  for (const socket of sockets.clients) socket.terminate();
  server.close(() => process.exit(Number(process.env.EXIT_CODE || 0)));
  server.closeIdleConnections();
});
