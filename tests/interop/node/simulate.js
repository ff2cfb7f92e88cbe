// A swarm of these peers in virtual time, on links of random delays, with some that misbehave. `node simulate.js [name]` runs
// every scenario, or those with a name like this, and prints how they ended.

import { float64Vector, vectorBytes } from './arithmetic.js';
import { Identity } from './identity.js';
import { Phase, seal, decodeBody, encodeBody } from './messages.js';
import { decodeFrame, encodeFrame, Kind } from './broadcast.js';
import { defaultDistanceRatio } from './model.js';
import { makeGenesis } from './log.js';
import { limitsFor } from './limits.js';
import { Node } from './node.js';
import { quadratic } from './task.js';
import { expand } from './encoding.js';
import { sorted, uint64 } from './bytes.js';
import { initialOptimizerState, readOptimizer, stateHash } from './update.js';

const OPTIMIZER = { name: 'sgd', momentum: '0.9', nesterov: '0', weight_decay: '0.0', learning_rate: '0.1', total_steps: '100',
  warmup_steps: '0', decay_power: '1', final_rate: '0.0' };

function makeConfig({ peers, tolerated, steps, dimension = 24, validators = 1 }) {
  return {
    peers, tolerated, dimension, steps, validators, liars: 0, compression: 1, group_size: 0, gradient_clip: 10,
    radius_initial: 2, radius_min: 0.05, radius_max: 10, residual_ratio: 0.1, spread_ratio: 4,
    distance_ratio: defaultDistanceRatio(peers, tolerated, validators, 0.1, 4), radius_factor: 1, tolerance: 0, margin: 0,
    delay: 10, gradient_time: 20, detection: 0.99, profile: 'btard', task: 'quadratic',
    optimizer: Object.entries(OPTIMIZER).sort(),
  };
}

/** Numbers from a seed, so that a run can be repeated. */
function dice(seed) {
  let count = 0;
  return (below) => Number(new DataView(expand('example/dice', [uint64(seed), uint64(count++)], 8).buffer).getUint32(0)) % below;
}

/** The genesis of a scenario, the key pairs in the order of the roster, and the task. */
function prepare({ peers, tolerated, steps, seed = 1 }) {
  const config = makeConfig({ peers, tolerated, steps });
  const task = quadratic({ dimension: config.dimension, mu: 0.5, smoothness: 2, noise: 0.5 });
  const optimizer = initialOptimizerState(readOptimizer(config.optimizer), config.dimension);
  const keys = Array.from({ length: peers }, (_, k) => new Identity(expand('example/key', [uint64(seed), uint64(k)], 32)));
  const identities = sorted(keys, (a, b) => (a.id < b.id ? -1 : 1));
  return { genesis: makeGenesis(config, identities.map(({ id }) => id), stateHash(task.parameters, optimizer)), identities, task };
}

/** Frames on their way, and when they arrive. */
class Network {
  arrivals = [];

  constructor(seed, delay) {
    Object.assign(this, { roll: dice(seed), delay });
  }

  post(now, from, to, data) {
    this.arrivals.push({ time: now + 1 + this.roll(this.delay), from, to, data });
  }

  next() {
    return Math.min(Infinity, ...this.arrivals.map(({ time }) => time));
  }

  take(now) {
    const due = this.arrivals.filter(({ time }) => time === now);
    this.arrivals = this.arrivals.filter(({ time }) => time !== now);
    return due;
  }
}

/**
 * Runs a scenario: { peers, tolerated, steps, byzantine, leave, seed }. `byzantine`: by index in the roster, a function
 * (frame, to, context) that gives the frames really sent to peer number `to`; `says`: by index, a function (message, slot,
 * roster) that gives what it says instead; `leave`: by index, the step after which a peer leaves. Returns logs by id: { records, states, ended }.
 */
export function simulate({ byzantine = {}, says = {}, leave = {}, ...scenario }) {
  const { genesis, identities, task } = prepare(scenario);
  const { roster, config } = genesis;
  const network = new Network(scenario.seed ?? 1, config.delay);
  const limits = limitsFor(roster.length, config.dimension);
  const nodes = identities.map((identity, k) => new Node({ genesis, identity, ...task, leaves: (state) => leave[k] === state.step }));
  nodes.forEach((node, k) => says[k] && saying(node, says[k], roster));
  const logs = new Map(roster.map((id) => [id, { records: [], states: [], wakeAt: null }]));

  const sent = (from, to, data) => {
    if (!byzantine[from]) return [data];
    const context = { identity: identities[from], roster };
    return byzantine[from](decodeFrame(data, limits), to, context).map(encodeFrame);
  };
  const absorb = (now, k, { sends, records, states, wakeAt, ended }) => {
    const log = logs.get(roster[k]);
    log.records.push(...records);
    log.states.push(...states);
    Object.assign(log, { wakeAt }, ended && { ended: [ended, now] });
    for (const [recipient, data] of sends) {
      const others = roster.map((_, to) => to).filter((to) => (recipient === null ? to !== k : roster[to] === recipient));
      others.forEach((to) => sent(k, to, data).forEach((bytes) => network.post(now, k, to, bytes)));
    }
  };
  const alarm = () => Math.min(Infinity, ...[...logs.values()].map(({ wakeAt }) => wakeAt ?? Infinity));

  nodes.forEach((node, k) => absorb(0, k, node.start(0)));
  for (let now = 0; now < Infinity; now = Math.min(network.next(), alarm())) {
    for (const { from, to, data } of network.take(now)) absorb(now, to, nodes[to].receive(now, roster[from], data));
    nodes.forEach((node, k) => (logs.get(roster[k]).wakeAt ?? Infinity) <= now && absorb(now, k, node.wake(now)));
  }
  return { logs, roster };
}

// -- Misbehaviour ------------------------------------------------------------------------------------------------

const isAgreed = (frame, phase) => frame.kind === Kind.ENVELOPE && frame.envelope.slot.phase === phase && frame.envelope.slot.part === 0;

/** The envelope with another message in it. */
function resealed(envelope, identity, change) {
  const message = change(decodeBody(envelope.slot, envelope.body), envelope.slot);
  return seal(identity, envelope.run, envelope.slot, envelope.logHead, encodeBody(message));
}

/** Lets a node say something else in agreed phases. */
function saying(node, change, roster) {
  const honest = node.protocol;
  const next = (answer) => {
    const request = honest.next(answer);
    if (request.value.kind !== 'broadcast') return request;
    const envelope = resealed(request.value.envelope, node.identity, (message, slot) => change(message, slot, roster));
    return { ...request, value: { ...request.value, envelope } };
  };
  node.protocol = { next };
}

const slotOfFrame = (frame) => (frame.envelope ?? frame.echo ?? frame).slot;
const isPart = (frame) => frame.envelope?.slot.phase === Phase.SCATTER;

/** A part of the same length, all zeros. */
function zeroed(frame, identity) {
  const { run, slot, logHead, body } = frame.envelope;
  return { ...frame, envelope: seal(identity, run, slot, logHead, new Uint8Array(body.length)) };
}

/** Says in Commit that it leaves, to some. */
const leaving = (frame, identity) => ({ ...frame, envelope: resealed(frame.envelope, identity, (message) => ({ ...message, leaving: true })) });

/** `gone`: how those ended that did not come to the end. */
export const SCENARIOS = {
  honest: { gone: [], peers: 4, tolerated: 1, steps: 6 },
  silent: { gone: ['expelled'], peers: 4, tolerated: 1, steps: 3, byzantine: { 1: () => [] } },
  'silent in step 2': {
    gone: ['expelled'], peers: 4, tolerated: 1, steps: 4,
    byzantine: { 2: (frame) => (slotOfFrame(frame).step >= 2 ? [] : [frame]) },
  },
  'shows its message to one only': {
    gone: ['expelled'], peers: 5, tolerated: 1, steps: 3,
    byzantine: { 0: (frame, to) => (isAgreed(frame, Phase.REVEAL) && to !== 1 ? [] : [frame]) },
  },
  equivocator: {
    gone: ['expelled'], peers: 5, tolerated: 1, steps: 3,
    byzantine: { 3: (frame, to, { identity }) => [isAgreed(frame, Phase.COMMIT) && to % 2 ? leaving(frame, identity) : frame] },
  },
  'withholds a part': {
    gone: ['expelled', 'expelled'], peers: 5, tolerated: 1, steps: 3,
    byzantine: { 2: (frame, to) => (isPart(frame) && to === 0 ? [] : [frame]) },
  },
  'sends a wrong part': {
    gone: ['expelled'], peers: 5, tolerated: 1, steps: 3,
    byzantine: { 2: (frame, to, { identity }) => [isPart(frame) ? zeroed(frame, identity) : frame] },
  },
  'lies in its report': {
    gone: ['expelled'], peers: 5, tolerated: 1, steps: 4,
    says: { 1: (message, { phase, step }) => (phase === Phase.REPORT && step === 1 ? { ...message, norms: lowered(message.norms) } : message) },
  },
  'accuses falsely': {
    gone: ['expelled'], peers: 5, tolerated: 1, steps: 4,
    says: {
      4: (message, { phase, step }, roster) =>
        (phase === Phase.COMMIT && step === 1 ? { ...message, accusations: [{ accused: roster[0], step: 0 }] } : message),
    },
  },
  leaves: { gone: ['left'], peers: 6, tolerated: 1, steps: 4, leave: { 3: 1 } },
};

function lowered(bytes) {
  const numbers = float64Vector(bytes);
  numbers[0] *= 0.5;
  return vectorBytes(numbers);
}

function report(name, scenario) {
  const began = Date.now();
  const { logs, roster } = simulate(scenario);
  console.log(`${name}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
  for (const [id, { ended, records, states }] of logs) {
    const { step, head, replica, removals } = states.at(-1);
    const gone = removals.map(({ peer, how, fault }) => `${roster.indexOf(peer)} ${how} (${fault})`);
    console.log(`  ${id.slice(0, 6)} ${ended.join(' at ')}, ${records.length} records; step ${step}: log head ${head.slice(0, 8)}, `
      + `state ${replica.stateHash.slice(0, 8)}; ${gone.join(', ')}`);
  }
}

if (process.argv[1] === import.meta.filename) {
  const chosen = Object.entries(SCENARIOS).filter(([name]) => name.includes(process.argv[2] ?? ''));
  chosen.forEach(([name, scenario]) => report(name, scenario));
}
