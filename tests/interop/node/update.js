// Chapter `update`: how the aggregate changes the parameters, in exact float32, and the state hash.

import { norm, vectorBytes } from './arithmetic.js';
import { concat, uint64 } from './bytes.js';
import { hash } from './encoding.js';
import { ProtocolError } from './errors.js';

const f32 = Math.fround;
const MAX_STAGES = 64;
export class UpdateError extends ProtocolError {}

function require(holds, what) {
  if (!holds) throw new UpdateError(what);
}

/** base^exponent, highest bit of the exponent first (UPD-2). */
export function power(base, exponent) {
  let result = 1;
  for (const bit of exponent.toString(2)) {
    result *= result;
    if (bit === '1') result *= base;
  }
  return result;
}

// -- Schedules ------------------------------------------------------------------------------------------------

const finite = (value) => value < Infinity;

function checkSchedule(s) {
  require(s.learning_rate > 0 && finite(s.learning_rate), '0 < learning_rate < infinity');
  require(s.final_rate >= 0 && s.final_rate <= s.learning_rate, '0 <= final_rate <= learning_rate');
  require(s.warmup_steps >= 0 && s.warmup_steps < s.total_steps, '0 <= warmup_steps < total_steps');
  require(s.decay_power >= 0 && s.decay_power <= 16, '0 <= decay_power <= 16');
}

/** UPD-3. */
function scheduledRate(s, count) {
  if (count < s.warmup_steps) return s.learning_rate * (count + 1) / s.warmup_steps;
  if (count >= s.total_steps) return s.final_rate;
  const remaining = (s.total_steps - count) / (s.total_steps - s.warmup_steps);
  return s.final_rate + (s.learning_rate - s.final_rate) * power(remaining, s.decay_power);
}

function checkStages(s) {
  require(s.lengths.length >= 1 && s.lengths.length <= MAX_STAGES, '1 to 64 stages');
  require(s.rates.length === s.lengths.length, 'as many rates as lengths');
  require(s.rates.every((rate) => rate > 0 && finite(rate)), '0 < rate < infinity');
  require(s.lengths.every((length) => length >= 1), 'stages of at least one update');
}

/** The stage of an update, and how many updates of the stage came before it (UPD-11). */
function stageOf(s, count) {
  const last = s.lengths.length - 1;
  for (let stage = 0; stage < last; stage++) {
    if (count < s.lengths[stage]) return [stage, count];
    count -= s.lengths[stage];
  }
  return [last, count % s.lengths[last]];
}

/** The learning rate of an update, whatever the optimizer's schedule. */
export const rateOf = (optimizer, count) => (optimizer.rates ? optimizer.rates[stageOf(optimizer, count)[0]] : scheduledRate(optimizer, count));

// -- Optimizers: { check, sizes, update } -------------------------------------------------------------------------

const zeros = (length) => new Float32Array(length);

function checkAdam(o) {
  checkSchedule(o);
  require(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1, '0 <= beta < 1');
  require(o.epsilon >= 2 ** -126 && finite(o.epsilon), '2^-126 <= epsilon < infinity');
  require(o.weight_decay >= 0 && finite(o.weight_decay), '0 <= weight_decay < infinity');
}

/** ⟦β⟧ × old + ⟦1 − β⟧ × now, entry by entry. */
function blend(old, beta, now) {
  const keep = f32(beta);
  const take = f32(1 - beta);
  return old.map((entry, k) => f32(f32(keep * entry) + f32(take * now[k])));
}

/** Count and moving averages after this update, and the scale q (UPD-5). */
function adamMoments(o, aggregate, state) {
  const after = {
    count: state.count + 1,
    momentum: blend(state.momentum, o.beta1, aggregate),
    secondMoment: blend(state.secondMoment, o.beta2, aggregate.map((g) => f32(g * g))),
  };
  const correction = f32(Math.sqrt(1 - power(o.beta2, after.count)));
  const epsilon = f32(o.epsilon);
  const scale = after.secondMoment.map((v) => f32(f32(f32(Math.sqrt(v)) / correction) + epsilon));
  return [after, scale];
}

const OPTIMIZERS = {
  sgd: {
    schedule: 'schedule',
    settings: { momentum: 'real', nesterov: 'whole', weight_decay: 'real' },
    check(o) {
      checkSchedule(o);
      require(o.momentum >= 0 && o.momentum < 1, '0 <= momentum < 1');
      require(o.nesterov === 0 || o.nesterov === 1, 'nesterov = 0 or 1');
      require(o.weight_decay >= 0 && finite(o.weight_decay), '0 <= weight_decay < infinity');
    },
    sizes: (o, d) => [o.momentum ? d : 0, 0],
    /** UPD-4. */
    update(o, x, g, state) {
      const rate = f32(scheduledRate(o, state.count));
      const [mu, omega] = [f32(o.momentum), f32(o.weight_decay)];
      const u = o.weight_decay ? g.map((entry, k) => f32(entry + f32(omega * x[k]))) : g;
      const m = o.momentum ? state.momentum.map((entry, k) => f32(f32(mu * entry) + u[k])) : state.momentum;
      const nesterov = () => u.map((entry, k) => f32(entry + f32(mu * m[k])));
      const p = !o.momentum ? u : o.nesterov ? nesterov() : m;
      const next = x.map((entry, k) => f32(entry - f32(rate * p[k])));
      return [next, { count: state.count + 1, momentum: m, secondMoment: state.secondMoment }];
    },
  },
  adamw: {
    schedule: 'schedule',
    settings: { beta1: 'real', beta2: 'real', epsilon: 'real', weight_decay: 'real' },
    check: checkAdam,
    sizes: (o, d) => [d, d],
    /** UPD-5. */
    update(o, x, g, state) {
      const rate = scheduledRate(o, state.count);
      const [after, scale] = adamMoments(o, g, state);
      const size = f32(rate / (1 - power(o.beta1, after.count)));
      const keep = f32(1 - rate * o.weight_decay);
      const kept = o.weight_decay ? x.map((entry) => f32(keep * entry)) : x;
      const next = kept.map((entry, k) => f32(entry - f32(size * f32(after.momentum[k] / scale[k]))));
      return [next, after];
    },
  },
  lamb: {
    schedule: 'schedule',
    settings: { beta1: 'real', beta2: 'real', epsilon: 'real', weight_decay: 'real', layers: 'wholes' },
    check(o) {
      checkAdam(o);
      require(o.layers.every((length) => length > 0), 'layers of positive length');
    },
    sizes: (o, d) => [d, d],
    /** UPD-6. */
    update(o, x, g, state) {
      const total = o.layers.reduce((sum, length) => sum + length, 0);
      require(total === 0 || total === x.length, 'layers that add up to d');
      const rate = scheduledRate(o, state.count);
      const [after, scale] = adamMoments(o, g, state);
      const correction = f32(1 - power(o.beta1, after.count));
      const omega = f32(o.weight_decay);
      const plain = after.momentum.map((m, k) => f32(f32(m / correction) / scale[k]));
      const p = o.weight_decay ? plain.map((entry, k) => f32(entry + f32(omega * x[k]))) : plain;
      const next = zeros(x.length);
      let start = 0;
      for (const length of total ? o.layers : [x.length]) {
        const factor = f32(rate * trustRatio(norm(x.subarray(start, start + length)), norm(p.subarray(start, start + length))));
        for (let k = start; k < start + length; k++) next[k] = f32(x[k] - f32(factor * p[k]));
        start += length;
      }
      return [next, after];
    },
  },
  'restarted-sgd': {
    schedule: 'stages',
    settings: {},
    check: checkStages,
    sizes: (o, d) => [d, 0],
    /** UPD-10. */
    update(o, x, g, state) {
      const [stage, before] = stageOf(o, state.count);
      const rate = f32(o.rates[stage]);
      const y = x.map((entry, k) => f32(entry - f32(rate * g[k])));
      const sum = state.momentum.map((entry, k) => f32(entry + y[k]));
      const count = state.count + 1;
      if (before + 1 < o.lengths[stage]) return [y, { count, momentum: sum, secondMoment: state.secondMoment }];
      const length = f32(o.lengths[stage]);
      return [sum.map((entry) => f32(entry / length)), { count, momentum: zeros(x.length), secondMoment: state.secondMoment }];
    },
  },
};

const trustRatio = (parameters, change) => (parameters > 0 && change > 0 ? parameters / change : 1);

const SCHEDULES = {
  schedule: { learning_rate: 'real', total_steps: 'whole', warmup_steps: 'whole', decay_power: 'whole', final_rate: 'real' },
  stages: { rates: 'reals', lengths: 'wholes' },
};

/** The state before the first update of d parameters. */
export function initialOptimizerState(optimizer, dimension) {
  const [momentum, secondMoment] = OPTIMIZERS[optimizer.name].sizes(optimizer, dimension);
  return { count: 0, momentum: zeros(momentum), secondMoment: zeros(secondMoment) };
}

/** One canonical update: [parameters, state] (UPD-7). Changes none of its arguments. */
export function applyUpdate(optimizer, parameters, aggregate, state) {
  const [momentum, secondMoment] = OPTIMIZERS[optimizer.name].sizes(optimizer, parameters.length);
  const fits = [[parameters, parameters.length], [aggregate, parameters.length], [state.momentum, momentum], [state.secondMoment, secondMoment]];
  require(fits.every(([vector, length]) => vector instanceof Float32Array && vector.length === length), 'float32 vectors of one length'); // UPD-7
  return OPTIMIZERS[optimizer.name].update(optimizer, parameters, aggregate, state);
}

// -- State hash ---------------------------------------------------------------------------------------------------

/** UPD-8. */
export function stateHash(parameters, state) {
  const vectors = [parameters, state.momentum, state.secondMoment].flatMap((vector) => [uint64(vector.length), canonicalBytes(vector)]);
  return hash('btard/state', concat([uint64(state.count), ...vectors]));
}

/** The entries as they are hashed: every NaN is the same one. */
export function canonicalBytes(vector) {
  const bytes = vectorBytes(vector);
  vector.forEach((entry, k) => Number.isNaN(entry) && bytes.set([0, 0, 0xc0, 0x7f], 4 * k));
  return bytes;
}

// -- Description ----------------------------------------------------------------------------------------------------

const WHOLE = /^(0|[1-9][0-9]{0,9})$/;
const REAL = /^[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?$/;

const READERS = {
  whole(text) {
    require(WHOLE.test(text), 'a whole number');
    return Number(text);
  },
  real(text) {
    require(REAL.test(text) && Number.isFinite(Number(text)), 'a finite decimal');
    return Number(text);
  },
  wholes: (text) => (text === '' ? [] : text.split(',').map(READERS.whole)),
  reals: (text) => (text === '' ? [] : text.split(',').map(READERS.real)),
};

/** The kind of every setting but the name. */
export const settingsOf = (name) => ({ ...OPTIMIZERS[name].settings, ...SCHEDULES[OPTIMIZERS[name].schedule] });

/** The optimizer that pairs of text describe (UPD-9). Throws UpdateError. */
export function readOptimizer(pairs) {
  const given = new Map(pairs);
  require(given.size === pairs.length, 'every setting once');
  const name = given.get('name');
  require(Object.hasOwn(OPTIMIZERS, name ?? ''), 'a known optimizer');
  const kinds = settingsOf(name);
  require(given.size === Object.keys(kinds).length + 1, 'exactly its settings');
  const optimizer = { name };
  for (const [setting, kind] of Object.entries(kinds)) {
    require(given.has(setting), `the setting ${setting}`);
    optimizer[setting] = READERS[kind](given.get(setting));
  }
  OPTIMIZERS[name].check(optimizer);
  return optimizer;
}
