import * as update from '../update.js';
import { float32, integer, integerForm, real, realForm } from './forms.js';
import { hex } from '../bytes.js';

/** A setting's value in the form of its kind. */
const settingForm = { whole: (value) => value, real: realForm, wholes: (list) => list, reals: (list) => list.map(realForm) };

function read({ optimizer }) {
  const settings = update.readOptimizer(optimizer);
  const kinds = update.settingsOf(settings.name);
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, name === 'name' ? value : settingForm[kinds[name]](value)]));
}

const canonical = (vector) => hex(update.canonicalBytes(vector));

function apply(input) {
  const optimizer = update.readOptimizer(input.optimizer);
  let parameters = float32(input.parameters);
  let state = update.initialOptimizerState(optimizer, parameters.length);
  if (input.count !== undefined) state.count = integer(input.count);
  if (input.momentum !== undefined) state.momentum = float32(input.momentum);
  if (input.second_moment !== undefined) state.secondMoment = float32(input.second_moment);
  for (const aggregate of input.aggregates) [parameters, state] = update.applyUpdate(optimizer, parameters, float32(aggregate), state);
  return {
    parameters: canonical(parameters), momentum: canonical(state.momentum), second_moment: canonical(state.secondMoment),
    count: integerForm(state.count), state_hash: update.stateHash(parameters, state),
  };
}

export default {
  'update.power': ({ base, exponent }) => realForm(update.power(real(base), integer(exponent))),
  'update.rate': ({ optimizer, count }) => realForm(update.rateOf(update.readOptimizer(optimizer), integer(count))),
  'update.read': read,
  'update.apply': apply,
  'update.state_hash': (input) => update.stateHash(float32(input.parameters),
    { count: integer(input.count), momentum: float32(input.momentum), secondMoment: float32(input.second_moment) }),
};

