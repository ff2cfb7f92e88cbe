import { sorted, compareTuples } from '../bytes.js';
import { checkedChunks } from '../majority_vote.js';
import * as model from '../model.js';
import { groupSizeAt } from '../redundant_code.js';
import { integer, real, realForm } from './forms.js';

/** A configuration from its fields, with the defaults of the chapter. */
export function configurationOf(input) {
  const given = Object.fromEntries(Object.entries(input).map(([name, form]) =>
    [name, model.REAL_FIELDS.includes(name) ? real(form) : model.COUNT_FIELDS.includes(name) ? integer(form) : form]));
  return model.withDefaults(given);
}

function configuration(input) {
  const config = configurationOf(input);
  model.checkConfiguration(config);
  return {
    distance_ratio: realForm(config.distance_ratio), margin: realForm(config.margin), group_size: config.group_size,
    validators: model.validatorCount(config.peers, config.tolerated, config.validators),
  };
}

function reachable({ peers, tolerated, most }) {
  const found = new Map(model.reachable(peers, tolerated, most).map((census) => [census.join(), census]));
  return sorted(found.values(), compareTuples);
}

export default {
  'model.configuration': configuration,
  'model.validators': ({ step, peers, tolerated, most }) => (integer(step) < 2 ? 0 : model.validatorCount(peers, tolerated, most)),
  'model.reachable': reachable,
  'model.fewest': ({ peers, tolerated }) => model.fewest(peers, tolerated),
  'model.least_radius': ({ peers, tolerated, most, ...reals }) =>
    realForm(model.leastRadius(peers, tolerated, most, real(reals.gradient_clip), real(reals.radius_max), real(reals.residual_ratio))),
  'model.checked_chunks': ({ detection }) => checkedChunks(real(detection)),
  'model.group_size': (input) => groupSizeAt(input.group_size, input.liars, input.tolerated),
};
