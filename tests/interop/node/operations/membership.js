import { commitSlot, Departures } from '../bans.js';
import { decode } from '../encoding.js';
import { decodeGenesis } from '../log.js';
import * as membership from '../membership.js';
import { Envelope } from '../messages.js';
import { admissibleCensus } from '../model.js';
import { bytes, integer, integerForm, slot, slotForm } from './forms.js';

const envelope = (form) => Envelope.fromItem(decode(bytes(form), Infinity));

export const removal = ([peer, how, fault, at, partner]) => ({ peer, how, fault, slot: slot(at), ...(partner && { partner }) });
export const removalForm = ({ peer, how, fault, slot: at, partner }) => [peer, how, fault, slotForm(at), partner ?? null];
const candidate = ([peer, since, owed, passed]) => ({ peer, since: integer(since), owed, passed });
export const candidateForm = ({ peer, since, owed, passed }) => [peer, integerForm(since), owed, passed];

/** The agreed state of an input. */
function stateOf(input) {
  const { config, run } = decodeGenesis(bytes(input.genesis));
  return {
    config, run, step: integer(input.step), attempt: input.attempt ?? 0, randomness: input.randomness, roster: input.roster,
    tolerated: input.tolerated, probation: input.probation.map(candidate), removals: input.removals.map(removal),
    arrivals: input.arrivals.map(([peer, step]) => ({ peer, step: integer(step) })), leavers: [],
    history: input.committed.map(([step, pairs]) => ({ step: integer(step), candidates: new Map(pairs) })),
  };
}

function chooseLetters(input) {
  const letters = membership.chooseLetters(stateOf(input), input.letters.map(envelope));
  return letters.map(({ sender, slot: at }) => [sender, at.phase]);
}

function readLetters(input) {
  const state = stateOf(input);
  const departures = new Departures(commitSlot(state));
  const delivered = new Map(state.roster.map((peer, k) => [peer, { kind: 'commit', letters: (input.letters[k] ?? []).map(envelope) }]));
  const after = membership.readLetters(state, delivered, departures);
  const committed = after.history.find(({ step }) => step === state.step - 1)?.candidates ?? new Map();
  return {
    probation: after.probation.filter(({ peer }) => !departures.refused(peer)).map(candidateForm),
    committed: [...committed].filter(([peer]) => !departures.refused(peer)).sort(),
    refused: departures.refusals.map(({ peer }) => peer),
  };
}

export const membershipForm = (state) => ({
  roster: state.roster, tolerated: state.tolerated, probation: state.probation.map(candidateForm),
  removals: state.removals.map(removalForm), arrivals: state.arrivals.map(({ peer, step }) => [peer, integerForm(step)]),
  leavers: state.leavers,
});

export default {
  'membership.probation_length': ({ peers, tolerated, most }) => membership.probationLength(peers, tolerated, most),
  'membership.is_letter': ({ run, letter }) => membership.isLetter(envelope(letter), run),
  'membership.choose_letters': chooseLetters,
  'membership.read_letters': readLetters,
  'membership.inspectors': (input) => [...membership.drawInspectors(stateOf(input))],
  'membership.admissible': ({ genesis, peers, tolerated }) => admissibleCensus(decodeGenesis(bytes(genesis)).config, peers, tolerated),
  'membership.boundary': (input) => membershipForm(membership.endOfStep(stateOf(input), input.leaving)),
};

