// A swarm of these peers in virtual time, on links of random delays, with some that misbehave. `node simulate.js [seed]` runs
// every scenario and prints how it ended.

import { Identity } from './identity.js';
import { Phase, seal, decodeBody, encodeBody } from './messages.js';
import { decodeFrame, encodeFrame, Kind } from './broadcast.js';
import { defaultDistanceRatio } from './model.js';
import { makeGenesis } from './log.js';
import { limitsFor } from './limits.js';
import { Node } from './node.js';
import { quadratic } from './task.js';
import { expand } from './encoding.js';
import { uint64 } from './bytes.js';
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

/** Runs a scenario. `byzantine`: by index, a function (frame, to, context) that gives the frames really sent. */
export function simulate({ peers, tolerated, steps, byzantine = {}, leave = {}, seed = 1 }) {
  const config = makeConfig({ peers, tolerated, steps });
  const roll = dice(seed);
  const task = quadratic({ dimension: config.dimension, mu: 0.5, smoothness: 2, noise: 0.5 });
  const optimizer = initialOptimizerState(readOptimizer(config.optimizer), config.dimension);
  const identities = Array.from({ length: peers }, (_, k) => new Identity(expand('example/key', [uint64(seed), uint64(k)], 32)))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const genesis = makeGenesis(config, identities.map(({ id }) => id), stateHash(task.parameters, optimizer));
  const nodes = new Map(identities.map((identity, k) =>
    [identity.id, new Node({ genesis, identity, ...task, leaves: (state) => leave[k] === state.step })]));
  const events = []; // { time, order, to, from, data }
  const wakes = new Map();
  const logs = new Map(identities.map(({ id }) => [id, { records: [], states: [] }]));
  let order = 0;

  const limits = limitsFor(peers, config.dimension);
  const absorb = (now, id, doings) => {
    const log = logs.get(id);
    log.records.push(...doings.records);
    log.states.push(...doings.states);
    if (doings.ended) log.ended = [doings.ended, now];
    wakes.set(id, doings.wakeAt);
    const act = byzantine[identities.findIndex((identity) => identity.id === id)];
    for (const [to, data] of doings.sends) {
      for (const recipient of to === null ? identities.map((identity) => identity.id).filter((peer) => peer !== id) : [to]) {
        const frames = act ? act(decodeFrame(data, limits), identities.findIndex((identity) => identity.id === recipient), { identity: identities.find((i) => i.id === id), now }).map(encodeFrame) : [data];
        for (const one of frames) events.push({ time: now + 1 + roll(config.delay), order: order++, to: recipient, from: id, data: one });
      }
    }
  };
  for (const [id, node] of nodes) absorb(0, id, node.start(0));
  let now = 0;
  for (;;) {
    const arrivals = Math.min(...events.map(({ time }) => time), Infinity);
    const wake = Math.min(...[...wakes.values()].filter((time) => time !== null), Infinity);
    now = Math.min(arrivals, wake);
    if (now === Infinity) break;
    const due = events.filter(({ time }) => time === now).sort((a, b) => a.order - b.order);
    events.splice(0, events.length, ...events.filter(({ time }) => time !== now));
    for (const { to, from, data } of due) absorb(now, to, nodes.get(to).receive(now, from, data));
    for (const [id, time] of wakes) if (time !== null && time <= now) absorb(now, id, nodes.get(id).wake(now));
  }
  return { config, nodes, logs, identities, now };
}

// -- Misbehaviour ------------------------------------------------------------------------------------------------

const isAgreed = (frame, phase) => frame.kind === Kind.ENVELOPE && frame.envelope.slot.phase === phase && frame.envelope.slot.part === 0;

const resign = (envelope, identity, change) => {
  const message = change(decodeBody(envelope.slot, envelope.body));
  return { kind: Kind.ENVELOPE, envelope: seal(identity, envelope.run, envelope.slot, envelope.logHead, encodeBody(message)) };
};

const SCENARIOS = {
  honest: { peers: 4, tolerated: 1, steps: 6 },
  silent: { peers: 4, tolerated: 1, steps: 3, byzantine: { 1: () => [] } },
  'silent in step 2': { peers: 4, tolerated: 1, steps: 4, byzantine: { 2: (f) => ((f.envelope ?? f.echo ?? f).slot.step >= 2 ? [] : [f]) } },
  'shows its message to one only': { peers: 5, tolerated: 1, steps: 3, byzantine: { 0: (f, to) => (isAgreed(f, Phase.REVEAL) && to !== 1 ? [] : [f]) } },
  equivocator: {
    peers: 5, tolerated: 1, steps: 3,
    byzantine: { 3: (f, to, { identity }) => (isAgreed(f, Phase.COMMIT) && to % 2 ? [resign(f.envelope, identity, (m) => ({ ...m, leaving: true }))] : [f]) },
  },
  'withholds a part': { peers: 5, tolerated: 2 - 1, steps: 3, byzantine: { 2: (f, to) => (f.envelope?.slot.phase === Phase.SCATTER && to === 0 ? [] : [f]) } },
  'sends a wrong part': {
    peers: 5, tolerated: 1, steps: 3,
    byzantine: {
      2: (f, to, { identity }) => {
        if (f.envelope?.slot.phase !== Phase.SCATTER) return [f];
        const { run, slot, logHead, body } = f.envelope;
        return [{ kind: 0, envelope: seal(identity, run, slot, logHead, new Uint8Array(body.length)) }];
      },
    },
  },
  'lies in its report': {
    peers: 5, tolerated: 1, steps: 4,
    byzantine: { 1: (f, to, { identity }) => (isAgreed(f, Phase.REPORT) && f.envelope.slot.step === 1 ? [resign(f.envelope, identity, (m) => ({ ...m, norms: lowered(m.norms) }))] : [f]) },
  },
  'accuses falsely': {
    peers: 5, tolerated: 1, steps: 4,
    byzantine: { 4: (f, to, { identity }) => (isAgreed(f, Phase.COMMIT) && f.envelope.slot.step === 1 ? [resign(f.envelope, identity, (m) => ({ ...m, accusations: [{ accused: m.someone ?? other(identity), step: 0 }] }))] : [f]) },
  },
  leaves: { peers: 6, tolerated: 1, steps: 4, leave: { 3: 1 } },
};

function lowered(bytes) {
  const numbers = new Float64Array(Uint8Array.from(bytes).buffer);
  numbers[0] *= 1.5;
  return new Uint8Array(numbers.buffer);
}

let everyone = [];
const other = (identity) => everyone.find((id) => id !== identity.id);

function report(name, scenario) {
  const began = Date.now();
  const { logs, identities, now } = simulate(scenario);
  console.log(`${name}: ${now} virtual seconds, ${((Date.now() - began) / 1000).toFixed(1)} s`);
  for (const { id } of identities) {
    const log = logs.get(id);
    const last = log.states.at(-1);
    const removals = (last?.removals ?? []).map(({ peer, how, fault }) => `${identities.findIndex((one) => one.id === peer)} ${how} ${fault}`);
    console.log(' ', id.slice(0, 6), log.ended?.join(' at '), log.records.length, 'records', last?.head.slice(0, 8), last?.replica.stateHash.slice(0, 8), removals.join('; '));
  }
}

if (process.argv[1] === import.meta.filename) {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    if (process.argv[2] && !name.includes(process.argv[2])) continue;
    everyone = Array.from({ length: scenario.peers }, (_, k) => new Identity(expand('example/key', [uint64(1), uint64(k)], 32)).id).sort();
    report(name, scenario);
  }
}

