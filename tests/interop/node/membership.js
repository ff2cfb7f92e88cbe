// Chapter `membership`, as a member sees it: letters, probation, inspectors, leaves and seats.

import { compareTuples, hex, sorted } from './bytes.js';
import { commitSlot, Fault } from './bans.js';
import { admissible } from './identity.js';
import { letterKey, MAX_LETTERS, Phase } from './messages.js';
import { admissibleCensus, validatorCount } from './model.js';
import { byLot } from './mprng.js';

const MAX_CANDIDATES = 8;
const LEAST_PROBATION = 2;
const PETITION_STEPS = 8;
const LETTER_BYTES = { [Phase.PETITION]: 0, [Phase.PROBATION]: 32 };

/** T_join (MEMB-3). */
export function probationLength(peers, tolerated, most) {
  const rate = validatorCount(peers, tolerated, most) * (peers - tolerated);
  return Math.max(LEAST_PROBATION, Math.ceil(peers * (peers - 1) / rate));
}

/** How many gradients a member may have to inspect in a step. */
export const inspections = (state) => Math.ceil(state.probation.length / state.roster.length);

// -- Letters -------------------------------------------------------------------------------------------------

/** MEMB-1. */
export function isLetter(letter, run) {
  const { phase, attempt, part } = letter.slot;
  if (letter.run !== run || letter.logHead !== run || !(phase in LETTER_BYTES) || attempt !== 0 || part !== 0) return false;
  return letter.body.length === LETTER_BYTES[phase] && letter.authentic;
}

/** MEMB-2: whether a petition of this key is heard. */
function welcome(state, key) {
  const outlawed = state.removals.some(({ peer, how }) => peer === key && (how === 'convicted' || how === 'refused'));
  return !state.roster.includes(key) && !state.probation.some(({ peer }) => peer === key) && admissible(key) && !outlawed;
}

function petitions(state, { slot, sender }) {
  const timely = slot.step <= state.step && state.step <= slot.step + PETITION_STEPS;
  return slot.phase === Phase.PETITION && timely && welcome(state, sender);
}

/** Whether a letter is a commitment of a candidate to its gradient of the last step (MEMB-5). */
function works(state, { slot, sender }) {
  const candidate = state.probation.find(({ peer }) => peer === sender);
  return slot.phase === Phase.PROBATION && slot.step === state.step - 1 && candidate !== undefined && candidate.since <= slot.step;
}

/** The letters that a member puts into its Commit (MEMB-12): commitments first, then petitions by lot. */
export function chooseLetters(state, letters) {
  const proper = letters.filter((letter) => isLetter(letter, state.run));
  const commitments = onePerKey(proper.filter((letter) => works(state, letter)));
  const asking = onePerKey(proper.filter((letter) => petitions(state, letter)));
  const lots = byLot('btard/candidate', state.randomness, state.step, asking.keys());
  const chosen = [...commitments.values(), ...lots.map((peer) => asking.get(peer))].slice(0, MAX_LETTERS);
  return sorted(chosen, (a, b) => compareTuples(letterKey(a), letterKey(b)));
}

/** One letter of each key, the one of the latest step. */
const onePerKey = (letters) => new Map(sorted(letters, (a, b) => compareTuples([a.slot.step], [b.slot.step])).map((letter) => [letter.sender, letter]));

/** What the letters of an agreed Commit change, also if the attempt is void (MEMB-4, MEMB-5). */
export function readLetters(state, delivered, departures) {
  const letters = [...delivered.values()].filter(({ kind }) => kind === 'commit').flatMap((commit) => commit.letters)
    .filter((letter) => isLetter(letter, state.run));
  const joined = joinCommitments(state, letters.filter((letter) => works(state, letter)), departures);
  const asking = letters.filter((letter) => petitions(state, letter)); // who is refused in this phase is struck out later
  return beginProbations(joined, new Set(asking.map(({ sender }) => sender)));
}

function joinCommitments(state, letters, departures) {
  const past = state.history.find(({ step }) => step === state.step - 1);
  if (!past) return state;
  const hashes = new Map();
  for (const { sender, body } of letters) {
    if (!hashes.has(sender)) hashes.set(sender, new Set([past.candidates.get(sender)].filter(Boolean)));
    hashes.get(sender).add(hex(body));
  }
  const candidates = new Map(past.candidates);
  for (const peer of sorted(hashes.keys())) {
    if (hashes.get(peer).size > 1) departures.refuse(peer, Fault.EQUIVOCATION); // MEMB-5
    candidates.set(peer, sorted(hashes.get(peer))[0]);
  }
  return { ...state, history: state.history.map((one) => (one === past ? { ...past, candidates } : one)) };
}

/** MEMB-4: petitioners as long as there is room, by lot. */
function beginProbations(state, petitioners) {
  const room = Math.max(0, Math.min(MAX_CANDIDATES, state.roster.length) - state.probation.length);
  const owed = probationLength(state.roster.length, state.tolerated, state.config.validators);
  const order = byLot('btard/candidate', state.randomness, state.step, petitioners);
  const begun = order.slice(0, room).map((peer) => ({ peer, since: state.step + 1, owed, passed: 0 }));
  return { ...state, probation: byPeer([...state.probation, ...begun]) };
}

const byPeer = (list) => sorted(list, (a, b) => (a.peer < b.peer ? -1 : 1));

/** Who recomputes which candidate's gradient of step t − 2 (MEMB-6): a Map from candidate to inspector. */
export function drawInspectors(state) {
  const past = state.history.find(({ step }) => step === state.step - 2);
  const candidates = state.probation.map(({ peer }) => peer).filter((peer) => past?.candidates.has(peer));
  const order = byLot('btard/inspector', state.randomness, state.step, state.roster);
  return new Map(candidates.map((peer, k) => [peer, order[k % order.length]]));
}

// -- The boundary after an applied step -----------------------------------------------------------------------

/** Steps are counted, then members leave, then candidates get seats; `state.history` is that of t − 2 and t − 1. */
export function endOfStep(state, leaving) {
  state = { ...state, probation: countSteps(state), leavers: [] };
  for (const peer of sorted(leaving)) {
    if (admissibleCensus(state.config, state.roster.length - 1, state.tolerated)) state = leave(state, peer); // MEMB-8
  }
  const ready = state.probation.filter(({ passed, owed }) => passed >= owed).map(({ peer }) => peer);
  for (const peer of ready) {
    if (!state.roster.includes(peer)) state = admit(state, peer, ready);
  }
  return state;
}

/** MEMB-5. */
function countSteps(state) {
  const at = (back) => state.history.find(({ step }) => step === state.step - back);
  const [last, inspected] = [at(1), at(2)];
  return state.probation
    .filter(({ peer, since }) => since >= state.step || last?.candidates.has(peer))
    .map((candidate) => ({ ...candidate, passed: candidate.passed + (inspected?.candidates.has(candidate.peer) ? 1 : 0) }));
}

function leave(state, peer) {
  const removal = { peer, how: 'left', fault: Fault.LEAVING, slot: commitSlot(state) };
  const roster = state.roster.filter((member) => member !== peer);
  return { ...state, roster, removals: [...state.removals, removal], leavers: [...state.leavers, peer] };
}

/** MEMB-7: alone, or together with the other one of its pair. */
function admit(state, peer, ready) {
  const members = state.roster.length;
  const bound = state.tolerated + restored(state, peer);
  if (admissibleCensus(state.config, members + 1, bound)) return seat(state, [peer], bound);
  const partner = lastRemoval(state, peer)?.partner;
  const together = partner && ready.includes(partner) && !state.roster.includes(partner);
  return together && admissibleCensus(state.config, members + 2, bound) ? seat(state, [peer, partner], bound) : state;
}

function seat(state, peers, tolerated) {
  const arrivals = [...state.arrivals, ...peers.map((peer) => ({ peer, step: state.step + 1 }))];
  const probation = state.probation.filter(({ peer }) => !peers.includes(peer));
  return { ...state, roster: sorted([...state.roster, ...peers]), tolerated, arrivals, probation };
}

const lastRemoval = (state, peer) => state.removals.findLast((removal) => removal.peer === peer);

/** By how much b_t rises when `peer` gets a seat (MEMB-7). */
function restored(state, peer) {
  const last = lastRemoval(state, peer);
  if (!last || last.how === 'left') return 0;
  if (last.how === 'absent') return 1;
  return state.arrivals.some((back) => back.peer === last.partner && back.step > last.slot.step) ? 0 : 1;
}

