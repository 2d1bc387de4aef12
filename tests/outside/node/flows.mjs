// ChatRoom as the npm package `ws` and Node's own fetch see it. Called with the server's address; prints one line for each
// rule that held, and ends with status 1 at the first that did not.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import WebSocket from 'ws';

const origin = process.argv[2];
const ws = origin.replace('http', 'ws');
const unique = (stem) => `${stem}-${randomBytes(5).toString('hex')}`;
const deadline = setTimeout(() => fail(new Error('still running after 50 s')), 50_000);

function fail(error) {
  console.error(error);
  process.exit(1);
}

async function api(method, path, body, token, status = 200) {
  const headers = body ? { 'content-type': 'application/json' } : {};
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(`${origin}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.equal(answer.status, status, `${method} ${path}: ${text}`);
  assert.ok(answer.headers.get('x-request-id'));
  return text ? JSON.parse(text) : undefined;
}

// A connection whose frames wait until they are asked for.
class Chat {
  constructor(path, ...options) {
    this.socket = new WebSocket(ws + path, ...options);
    this.frames = [];
    this.waiting = [];
    this.closed = new Promise((resolve) => this.socket.on('close', (code, reason) => resolve({ code, reason: String(reason) })));
    this.socket.on('error', () => {});
    this.socket.on('message', (data, binary) => {
      assert.equal(binary, false);
      this.frames.push(JSON.parse(data));
      this.waiting.splice(0).forEach((wake) => wake());
    });
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  async next(type, match = {}) {
    for (;;) {
      const at = this.frames.findIndex((f) => f.type === type && Object.entries(match).every(([k, v]) => f[k] === v));
      if (at >= 0) return this.frames.splice(at, 1)[0];
      await new Promise((resolve) => this.waiting.push(resolve));
    }
  }
}

const password = 'violet-anchor-41-tundra';
const alice = await api('POST', '/auth/register', { username: unique('node'), password }, undefined, 201);
const bob = await api('POST', '/auth/register', { username: unique('node'), password }, undefined, 201);
const room = await api('POST', '/rooms', { name: unique('node') }, alice.access_token, 201);

const rules = {
  async 'the URL alone is a complete client'() {
    const chat = new Chat(`/ws?room_id=${room.id}&token=${alice.access_token}`);
    await chat.next('welcome');
    assert.equal((await chat.next('joined')).room_id, room.id);
    chat.send({ type: 'message', id: 1, content: 'from node', nonce: 'node-1' });
    const { seq } = await chat.next('ack', { id: 1 });
    const event = await chat.next('message', { seq });
    assert.equal(event.content, 'from node');
    assert.equal(event.user.id, alice.user.id);
    chat.socket.close(1000);
    assert.equal((await chat.closed).code, 1000);
  },

  async 'the token comes as a header, a subprotocol pair or a frame'() {
    const header = new Chat('/ws', { headers: { authorization: `Bearer ${alice.access_token}` } });
    await header.next('welcome');
    const pair = new Chat('/ws', ['chatroom.v1', `bearer.${alice.access_token}`]);
    await pair.next('welcome');
    assert.equal(pair.socket.protocol, 'chatroom.v1');
    const frame = new Chat('/ws');
    await once(frame.socket, 'open');
    frame.send({ type: 'auth', id: 9, token: alice.access_token });
    assert.equal((await frame.next('welcome')).user.id, alice.user.id);
    for (const chat of [header, pair, frame]) chat.socket.terminate();
  },

  async 'a bad token is 401 before the upgrade'() {
    const chat = new Chat('/ws?token=bad');
    const [, answer] = await once(chat.socket, 'unexpected-response');
    assert.equal(answer.statusCode, 401);
    assert.match(answer.headers['content-type'], /^application\/problem\+json/);
    answer.resume();
  },

  async 'permessage-deflate works both ways'() {
    const path = `/ws?room_id=${room.id}&token=${alice.access_token}`;
    const packed = new Chat(path, { perMessageDeflate: { threshold: 0 } });
    const plain = new Chat(path, { perMessageDeflate: false });
    await Promise.all([packed.next('joined'), plain.next('joined')]);
    assert.match(packed.socket.extensions, /permessage-deflate/);
    assert.equal(plain.socket.extensions, '');
    for (let n = 0; n < 30; n++) {
      packed.send({ type: 'message', content: `${n} `.repeat(n * 40 + 1) });
      const { seq } = await packed.next('ack');
      assert.deepEqual(await packed.next('message', { seq }), await plain.next('message', { seq }));
    }
    packed.socket.terminate();
    plain.socket.terminate();
  },

  async 'what was missed is replayed'() {
    const { seq, epoch } = await api('GET', `/rooms/${room.id}/messages?limit=1`, undefined, bob.access_token);
    for (let n = 0; n < 10; n++) await api('POST', `/rooms/${room.id}/messages`, { content: `missed ${n}` }, alice.access_token, 201);
    const chat = new Chat(`/ws?room_id=${room.id}&token=${bob.access_token}&since=${seq}&epoch=${encodeURIComponent(epoch)}`);
    const joined = await chat.next('joined');
    assert.deepEqual([joined.resumed, joined.replay, joined.seq], [true, 10, seq + 10]);
    for (let n = 0; n < 10; n++) assert.equal((await chat.next('message', { seq: seq + 1 + n })).content, `missed ${n}`);
    chat.socket.terminate();
  },

  async 'a binary frame is 1003 and a frame beyond 1 MiB 1009'() {
    for (const [data, code] of [[Buffer.from([1, 2]), 1003], ['x'.repeat(1_200_000), 1009]]) {
      const chat = new Chat(`/ws?token=${bob.access_token}`, { perMessageDeflate: false });
      await chat.next('welcome');
      chat.socket.send(data);
      assert.equal((await chat.closed).code, code);
    }
  },

  async 'pings of the protocol and of the contract are answered'() {
    const chat = new Chat(`/ws?token=${bob.access_token}`);
    await chat.next('welcome');
    chat.socket.ping('payload');
    const [data] = await once(chat.socket, 'pong');
    assert.equal(String(data), 'payload');
    chat.send({ type: 'ping', id: 5 });
    await chat.next('pong', { id: 5 });
    chat.socket.terminate();
  },

  async 'logout closes with 4401'() {
    const chat = new Chat(`/ws?token=${bob.access_token}`);
    await chat.next('welcome');
    await api('POST', '/auth/logout', { refresh_token: bob.refresh_token }, undefined, 204);
    assert.equal((await chat.closed).code, 4401);
  },
};

for (const [name, rule] of Object.entries(rules)) {
  try {
    await rule();
  } catch (error) {
    console.error(`not ok: ${name}`);
    fail(error);
  }
  console.log(`ok: ${name}`);
}
clearTimeout(deadline);
process.exit(0);
