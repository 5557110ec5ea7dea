// The WebSocket to the server: opens it, opens it again, and acknowledges what was taken.
// SPDX-License-Identifier: Apache-2.0
import { decode, encode } from '@msgpack/msgpack';
import { touch } from './frame';
import { state, type Connection } from './state';

const FIRST_WAIT = 250; // ms; doubled up to the longest
const LONGEST_WAIT = 5000;

let socket: WebSocket | null = null;
let wait = FIRST_WAIT;
let sequence = 0;
let timer = 0;

function be(connection: Connection): void {
  state.connection = connection;
  touch(true);
}

async function names(): Promise<void> {
  try {
    const answer = await fetch('ops.json');
    if (!answer.ok) return;
    for (const { id, name, kind } of (await answer.json()) as { id: number; name: string; kind: string }[]) {
      state.names.set(id, { name, kind });
    }
    touch(true);
  } catch {
    // Ops are then shown by number, and the next connection tries again.
  }
}

function connect(): void {
  const ws = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/live`, 'tensord.dash.1');
  ws.binaryType = 'arraybuffer';
  socket = ws;
  sequence = 0;
  ws.onopen = () => {
    wait = FIRST_WAIT;
    if (state.names.size === 0) void names();
    be('open');
    state.connected();
    if (document.hidden) state.stopFeed(true);
  };
  ws.onmessage = (event: MessageEvent<ArrayBuffer>) => {
    const message = decode(new Uint8Array(event.data)) as unknown[];
    const number = message[1] as number;
    if (number > sequence + 1 && sequence > 0) state.skippedMessages += number - sequence - 1;
    sequence = number;
    try {
      state.take(message);
    } finally {
      ws.send(encode(['ack', number]));
    }
  };
  ws.onclose = () => {
    if (socket !== ws) return;
    socket = null;
    void again();
  };
}

/** A refused WebSocket does not say why; a plain request to the same path does. */
async function again(): Promise<void> {
  let denied = false;
  try {
    denied = (await fetch('live', { cache: 'no-store' })).status === 401;
  } catch {
    // The server is away.
  }
  be(denied ? 'denied' : 'lost');
  clearTimeout(timer);
  timer = setTimeout(connect, denied ? LONGEST_WAIT : wait) as unknown as number;
  wait = Math.min(2 * wait, LONGEST_WAIT);
}

export function start(): void {
  state.send = (message) => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(encode(message));
  };
  document.addEventListener('visibilitychange', () => {
    // A pause of more than a minute has stopped the feed by itself; coming back does not start it.
    if (document.hidden) state.stopFeed(true);
    else if (state.paused === null || state.now - state.pausedAt <= 60_000) state.stopFeed(false);
  });
  connect();
}
