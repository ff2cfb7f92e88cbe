// Chapter `conformance`: the program under test. It reads JSON lines on standard input and answers each with one line.

import { createInterface } from 'node:readline';
import { hex, unhex } from './bytes.js';
import { Identity } from './identity.js';
import { decodeGenesis, encodeRecord } from './log.js';
import { Envelope } from './messages.js';
import { Node } from './node.js';
import { evaluate } from './operations/index.js';
import { quadratic } from './task.js';

const NAME = 'btard-interop-node';
const PROFILES = ['btard'];
const UNSUPPORTED = { unsupported: true };
const LETTER_BODY = 32;

const real = (digits) => new Float64Array(Uint8Array.from(unhex(digits)).buffer)[0];
const seats = new Map(); // by number: { node, leaves }

const REQUESTS = {
  hello: () => ({ name: NAME, profiles: PROFILES }),
  evaluate: ({ operation, input }) => evaluate(operation, input) ?? UNSUPPORTED,
  seat: takeSeat,
  start: ({ seat, now }) => doings(seats.get(seat).node.start(now)),
  receive: ({ seat, now, from, frame }) => doings(seats.get(seat).node.receive(now, from, unhex(frame))),
  wake: ({ seat, now }) => doings(seats.get(seat).node.wake(now)),
  letter({ seat, letter }) {
    seats.get(seat).node.takeLetter(Envelope.decode(unhex(letter), LETTER_BODY));
    return {};
  },
  leave({ seat, step }) {
    seats.get(seat).leaves.add(step);
    return {};
  },
};

function takeSeat({ seat, genesis, secret, task }) {
  const record = decodeGenesis(unhex(genesis));
  if (!PROFILES.includes(record.config.profile) || record.config.tolerance > 0 || task.name !== 'quadratic') return UNSUPPORTED;
  const { dimension, mu, smoothness, noise } = task;
  const gradients = quadratic({ dimension, mu: real(mu), smoothness: real(smoothness), noise: real(noise) });
  const leaves = new Set();
  const node = new Node({ genesis: record, identity: new Identity(unhex(secret)), ...gradients, leaves: (state) => leaves.has(state.step) });
  seats.set(seat, { node, leaves });
  return {};
}

/** What a node did, in the form of the chapter. */
function doings({ sends, wakeAt, records, aggregate, states, ended }) {
  return {
    send: sends.map(([to, frame]) => [to, hex(frame)]),
    wake: wakeAt,
    records: records.map((record) => hex(encodeRecord(record))),
    ...(aggregate && { aggregate: hex(aggregate) }),
    states: states.map(agreedState),
    ...(ended && { ended }),
  };
}

function agreedState({ step, attempt, roster, tolerated, randomness, head, replica, removals }) {
  return {
    step, attempt, roster, tolerated, randomness, head, state_hash: replica.stateHash,
    removals: removals.map(({ peer, how, fault }) => [peer, how, fault]),
  };
}

function answer(line) {
  const request = JSON.parse(line);
  if (request.do === 'bye') process.exit(0);
  return Object.hasOwn(REQUESTS, request.do) ? REQUESTS[request.do](request) : UNSUPPORTED;
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = answer(line);
  } catch (error) {
    console.error(error);
    reply = { error: error.message };
  }
  process.stdout.write(JSON.stringify(reply) + '\n');
}
