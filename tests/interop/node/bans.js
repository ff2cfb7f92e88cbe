// Chapter `bans`: who is removed, for what, and in which order that is decided. Everything is a function of the agreed vector,
// of the state before it, and of recomputed gradients.

import { sorted } from './bytes.js';
import { ToleranceExceeded } from './errors.js';
import { Subject } from './log.js';
import { echoSlot, makeSlot, Phase, sameSlot } from './messages.js';
import { corrected, distinctGradients, failingParts, judge } from './verification.js';

export const Fault = Object.freeze({
  SILENT: 0, MALFORMED: 1, WRONG_LOG_HEAD: 2, DIVERGED: 3, WRONG_OPENING: 4, IMPOSSIBLE_REPORT: 5, MISMATCHED_PART: 6,
  WRONG_HASH: 7, WRONG_REPORT: 8, WRONG_AGGREGATE: 9, IMPOSSIBLE_AGGREGATE: 10, FALSE_ACCUSATION: 11, FALSE_NOTICE: 12,
  WITHHELD: 13, EQUIVOCATION: 14, UNEXPLAINED_ECHO: 15, MISSED: 16, WRONG_GRADIENT: 17, UNDISCLOSED: 18, LEAVING: 19,
});

/** The removals and refusals of one phase. A removal: { peer, how, fault, slot, partner }. */
export class Departures {
  removals = [];
  refusals = [];

  constructor(slot) {
    this.slot = slot;
  }

  find = (peer) => this.removals.find((removal) => removal.peer === peer);
  out = (peer) => this.find(peer) !== undefined;
  convicted = (peer) => this.find(peer)?.how === 'convicted';
  absent = (peer) => this.find(peer)?.how === 'absent';
  refused = (peer) => this.refusals.some((refusal) => refusal.peer === peer);

  /** Removes one peer, once: the first reason stands (BAN-2). */
  remove(peer, fault) {
    if (this.out(peer)) return;
    const how = fault === Fault.SILENT || fault === Fault.MISSED ? 'absent' : 'convicted';
    this.removals.push({ peer, how, fault, slot: this.slot });
  }

  /** Convicts a key without a seat. */
  refuse(peer, fault) {
    if (!this.refused(peer)) this.refusals.push({ peer, how: 'refused', fault, slot: this.slot });
  }

  /** Removes both, unless one has left already (BAN-3). */
  eliminate(first, second) {
    if (this.out(first) || this.out(second)) return;
    for (const [peer, partner] of [[first, second], [second, first]]) {
      this.removals.push({ peer, how: 'eliminated', fault: Fault.WITHHELD, slot: this.slot, partner });
    }
  }
}

/** b_t after removals (BAN-4). */
export function remainingTolerance(tolerated, removals) {
  const pairs = removals.filter(({ how }) => how === 'eliminated').length / 2;
  const left = tolerated - pairs - removals.filter(({ how }) => how !== 'eliminated').length;
  if (left < 0) throw new ToleranceExceeded('more peers left than the run tolerates');
  return left;
}

/** Who can be convicted although it has no seat: candidates, and members that have just left. */
const withoutSeat = (state) => new Set([...state.leavers, ...state.probation.map(({ peer }) => peer)]);

// -- Public violations and evidence -----------------------------------------------------------------------------

/** Parts (1) to (4) of BAN-1. Returns the readable messages by sender, in roster order. */
export function judgeOpenly(state, attempt, vector, rules, departures) {
  const readable = state.roster.map((peer, k) => [peer, vector[k]?.message]).filter(([, message]) => message);
  const delivered = new Map(readable);
  rules.begin(state, attempt, delivered);
  state.roster.forEach((sender, k) => {
    const fault = publicFault(state, attempt, sender, vector[k], rules);
    if (fault !== null) departures.remove(sender, fault);
  });
  punishEvidence(state, attempt, delivered, departures);
  punishEchoes(state, delivered, departures);
  punishContents(state, delivered, departures);
  return delivered;
}

/** The first thing wrong with one entry (BAN-5); null if nothing is. */
function publicFault(state, attempt, sender, envelope, rules) {
  if (envelope === null) return Fault.SILENT;
  if (envelope.message === null) return Fault.MALFORMED;
  if (envelope.logHead !== state.head) return Fault.WRONG_LOG_HEAD;
  if (!grounded(state, attempt, sender, envelope.message)) return Fault.FALSE_NOTICE;
  return rules.fault(state, attempt, sender, envelope.message);
}

/** BAN-6. */
function grounded(state, attempt, sender, message) {
  const heard = state.last?.roster ?? [];
  const owing = (peer) => heard.includes(sender) && heard.includes(peer) && peer !== sender;
  const { complaints, evidence, echoes } = message.notices;
  return complaints.every(owing)
    && evidence.every((proof) => provenFault(state, attempt, proof, message) !== null)
    && echoes.every((echo) => isLastEcho(state, echo));
}

function punishEvidence(state, attempt, delivered, departures) {
  const outside = withoutSeat(state);
  for (const message of delivered.values()) {
    for (const proof of message.notices.evidence) {
      const fault = provenFault(state, attempt, proof, message);
      const { sender } = proof[0];
      if (fault !== null && state.roster.includes(sender)) departures.remove(sender, fault);
      else if (fault !== null && outside.has(sender)) departures.refuse(sender, fault);
    }
  }
}

/** What a proof proves against its signer (BAN-7); null if nothing. */
function provenFault(state, attempt, proof, message) {
  if (proof.length === 2) return equivocation(state.run, ...proof) ? Fault.EQUIVOCATION : null;
  return provesMismatch(state, attempt, proof[0], message) ? Fault.MISMATCHED_PART : null;
}

function equivocation(run, first, second) {
  const alike = first.run === run && second.run === run && first.sender === second.sender && sameSlot(first.slot, second.slot);
  return alike && first.digest !== second.digest && first.authentic && second.authentic;
}

function provesMismatch(state, attempt, proof, message) {
  const author = attempt.workers.indexOf(proof.sender);
  const phase = message.kind === 'aggregate' ? Phase.SCATTER : Phase.GATHER;
  const { part } = proof.slot;
  if (author < 0 || proof.run !== state.run || !sameSlot(proof.slot, attempt.slot(phase, part))) return false;
  let announced;
  if (message.kind === 'aggregate' && part < attempt.workers.length) announced = attempt.partHashes[author][part];
  if (message.kind === 'reveal' && part === author && attempt.aggregateHashes) announced = attempt.aggregateHashes[author];
  return announced !== undefined && proof.bodyHash !== announced && proof.authentic;
}

/** Whether `echo` is a well-formed, signed echo of the last agreed phase by one of its peers (BAN-6). */
function isLastEcho(state, echo) {
  const { last } = state;
  if (!last || !sameSlot(echo.slot, echoSlot(last.slot)) || echo.run !== state.run || !last.roster.includes(echo.sender)) return false;
  return echo.message?.kind === 'echo' && echo.message.vector.length === last.roster.length && echo.authentic;
}

/** BAN-10: who echoed something else than was delivered explains it in the same phase, or is convicted. */
function punishEchoes(state, delivered, departures) {
  for (const message of delivered.values()) {
    for (const echo of message.notices.echoes) {
      if (isLastEcho(state, echo) && delivered.has(echo.sender) && unexplained(state, echo, delivered)) {
        departures.remove(echo.sender, Fault.UNEXPLAINED_ECHO);
      }
    }
  }
}

function unexplained(state, echo, delivered) {
  const { complaints, evidence } = delivered.get(echo.sender).notices;
  const explained = new Set([...complaints, ...evidence.filter((proof) => proof.length === 2).map((proof) => proof[0].sender)]);
  const { roster, digests } = state.last;
  return roster.some((peer, k) => digests[k] !== null && echo.message.vector[k] !== digests[k]
    && state.roster.includes(peer) && !explained.has(peer));
}

/** VER-10: an aggregator whose content more than b_t peers call unusable, one of them impossible. */
export function punishContents(state, delivered, departures) {
  const messages = [...delivered.values()];
  const accused = messages.filter(({ kind }) => kind === 'reveal').flatMap(({ accusations }) => accusations.map((a) => a.accused));
  for (const aggregator of sorted(new Set(accused))) {
    const voices = messages.filter((message) => complainedOf(message).has(aggregator)).length;
    if (voices > state.tolerated) departures.remove(aggregator, Fault.IMPOSSIBLE_AGGREGATE);
  }
}

/** Whom a message blames for what nobody else can verify. */
function complainedOf(message) {
  const accused = message.kind === 'reveal' ? message.accusations.map((accusation) => accusation.accused) : [];
  return new Set([...message.notices.complaints, ...accused]);
}

/** Parts (6) and (7) of BAN-1: BAN-11, BAN-12, BAN-3. */
export function settleComplaints(state, delivered, departures) {
  const pairs = sorted(delivered.keys()).flatMap((one) => sorted(complainedOf(delivered.get(one))).map((other) => [one, other]));
  const voices = new Map();
  for (const [, accused] of pairs) voices.set(accused, (voices.get(accused) ?? 0) + 1);
  for (const accused of sorted(voices.keys())) {
    if (voices.get(accused) <= state.tolerated) continue;
    if (state.roster.includes(accused)) departures.remove(accused, Fault.MISSED);
    else if (state.leavers.includes(accused)) departures.refuse(accused, Fault.MISSED);
  }
  for (const [complainer, accused] of pairs) {
    if (state.roster.includes(accused)) departures.eliminate(complainer, accused);
  }
}

// -- Trials -------------------------------------------------------------------------------------------------------

/** Holds the trials of a phase one by one (BAN-8). Returns the state, with corrected transcripts, and the verdicts. */
export function* holdTrials(state, attempt, delivered, rules, departures) {
  const queue = rules.needsEveryone && departures.removals.length ? [] : rules.charges(state, attempt, delivered);
  const transcripts = rules.transcripts(state);
  const verdicts = [];
  let work = 0;
  while (queue.length) {
    const charge = queue.shift();
    const { trial } = charge;
    const past = transcripts.get(trial.step);
    if (moot(state, trial, past, departures)) continue;
    const verdict = yield* judge(trial, past, state.config.residual_ratio);
    verdicts.push(verdict);
    work += trial.subject === Subject.AGGREGATE ? distinctGradients(past) : 1; // VER-12
    punish(charge, verdict, state, departures);
    transcripts.set(trial.step, learn(past, verdict));
    const parts = uncoveredParts(state.config, transcripts.get(trial.step), verdict.findings);
    queue.push(...parts.map((part) => aggregateCharge(trial.step, past.workers[part])));
  }
  return [{ ...rules.settle(state, transcripts), work }, verdicts];
}

function moot(state, { accused, subject }, past, departures) {
  const settled = subject === Subject.AGGREGATE && past.settled.includes(accused);
  const here = state.roster.includes(accused) || withoutSeat(state).has(accused);
  return departures.convicted(accused) || departures.refused(accused) || !here || settled;
}

/** BAN-9. */
function punish(charge, verdict, state, departures) {
  for (const { peer, fault } of verdict.findings) {
    const seated = state.roster.includes(peer);
    if (seated && !departures.out(peer)) departures.remove(peer, fault);
    else if (departures.absent(peer) || (!seated && withoutSeat(state).has(peer))) departures.refuse(peer, fault);
  }
  if (verdict.findings.length === 0) charge.accusers.forEach((accuser) => departures.remove(accuser, Fault.FALSE_ACCUSATION));
}

/** The transcript after a verdict: false reports replaced by true ones, a tried part settled. */
export function learn(past, { trial, findings }) {
  const told = findings.filter(({ correction }) => correction.length > 0).reduce(corrected, past);
  return trial.subject === Subject.AGGREGATE ? { ...told, settled: [...told.settled, trial.accused] } : told;
}

/** Parts that fail now that the truth is known (VER-11). */
export function uncoveredParts(config, past, findings) {
  return findings.some(({ correction }) => correction.length > 0) ? failingParts(past, config) : [];
}

export const aggregateCharge = (step, accused) => ({ trial: { step, accused, subject: Subject.AGGREGATE }, accusers: [] });

export const commitSlot = (state) => makeSlot(state.step, state.attempt, Phase.COMMIT);
