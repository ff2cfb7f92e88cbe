// Operations that read a whole log, or one that goes on.

import { auditLog, BadRecord, followLog, genesisOf, keptAggregates } from '../audit.js';
import { ProtocolError } from '../errors.js';
import { Phase } from '../messages.js';
import { planStep } from '../step.js';
import { quadratic } from '../task.js';
import { bytes, integerForm, real, slotForm, vectorForm } from './forms.js';
import { membershipForm, removalForm } from './membership.js';

/** What is asked for a log of a profile or mode that this implementation does not play. */
export class Unsupported extends Error {}

function readable(data) {
  const { config } = genesisOf(data);
  if (config.profile !== 'btard' || config.tolerance > 0) throw new Unsupported();
  return data;
}

/** What `act` gives, or the record that is named. */
function orBadRecord(act) {
  try {
    return act();
  } catch (error) {
    if (error instanceof BadRecord) return { bad_record: error.record };
    throw error;
  }
}

const audit = ({ log }) => orBadRecord(() => {
  const { run, records, trials, removals, head } = auditLog(readable(bytes(log)));
  return { run, records, trials, removals: removals.map(removalForm), head };
});

const follow = ({ log }) => orBadRecord(() => {
  const { records, removals, head } = followLog(readable(bytes(log)));
  return { records, removals: removals.map(removalForm), head };
});

/** The last request of each kind that an observer of the log makes. */
function lastRequests(log) {
  const last = {};
  followLog(readable(bytes(log)), { watch: (request) => (last[request.kind] = request) });
  return last;
}

function removals({ log }) {
  const { judged } = lastRequests(log);
  if (!judged) throw new ProtocolError('no agreed phase');
  const { departures, state } = judged;
  return {
    removals: departures.removals.map(removalForm), refusals: departures.refusals.map(removalForm), roster: state.roster, tolerated: state.tolerated,
  };
}

function next({ log }) {
  const { broadcast, attempt } = lastRequests(log);
  const { slot, roster, tolerated, head, work, state } = broadcast;
  const { validators, targets } = slot.phase === Phase.CLOSING ? planStep(state) : attempt.plan;
  return {
    slot: slotForm(slot), roster, tolerated, head, index: integerForm(state.records), work,
    validators, targets: [...targets], workers: roster.filter((peer) => !validators.includes(peer)),
  };
}

function members({ log }) {
  const { broadcast, attempt } = lastRequests(log);
  return { ...membershipForm(broadcast.state), inspectors: [...attempt.plan.inspectors] };
}

function replay({ log, aggregates, task }) {
  const { name, dimension, mu, smoothness, noise } = task;
  if (name !== 'quadratic') throw new ProtocolError('an unknown task');
  const gradients = quadratic({ dimension, mu: real(mu), smoothness: real(smoothness), noise: real(noise) });
  const steps = [];
  let plan;
  const watch = (request) => {
    if (request.kind === 'attempt') ({ plan } = request);
    if (request.kind === 'applied') steps.push(stepForm(plan, request.state));
  };
  return orBadRecord(() => {
    auditLog(readable(bytes(log)), { task: gradients, aggregates: keptAggregates(bytes(aggregates)), watch });
    return { steps };
  });
}

function stepForm(plan, state) {
  const { step, workers, radii, randomness } = state.history.at(-1);
  return {
    step, validators: plan.validators, targets: [...plan.targets], workers, radii: vectorForm(radii), randomness,
    roster: state.roster, tolerated: state.tolerated, parameters: vectorForm(state.replica.parameters), state_hash: state.replica.stateHash,
  };
}

export default {
  'log.audit': audit,
  'log.follow': follow,
  'bans.removals': removals,
  'membership.follow': members,
  'step.next': next,
  'step.replay': replay,
};

