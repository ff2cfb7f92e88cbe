// Chapter `log`, section "Audit": an observer runs the protocol with a log as its channel, and compares.

import { allFinite, float32Vector, float64Vector } from './arithmetic.js';
import { Fault } from './bans.js';
import { cut } from './butterfly_clip.js';
import { equal } from './bytes.js';
import { decode, decodeSequence, encode } from './encoding.js';
import { ProtocolError } from './errors.js';
import { decodeGenesis, decodeRecord, headAfter, MAX_RECORD, Subject, verdictItem } from './log.js';
import { bodyHash, sameSlot } from './messages.js';
import { initialState, run } from './step.js';

const OBSERVER = { id: null, identity: null, leaves: () => false };

/** A log that is refused; `record` is the index that the table of the chapter names. */
export class BadRecord extends ProtocolError {
  constructor(record, reason) {
    super(`record ${record}: ${reason}`);
    this.record = record;
  }
}

/** Nothing is left of a log that goes on. */
class EndOfLog extends Error {}

/** The genesis of a log; throws BadRecord. */
export function genesisOf(data) {
  const { value, done } = items(data).next();
  if (done) throw new BadRecord(0, 'no genesis record');
  return at(0, () => decodeGenesis(value));
}

function* items(data) {
  try {
    for (const [, bytes] of decodeSequence(data, MAX_RECORD)) yield bytes;
  } catch (error) {
    throw error instanceof ProtocolError ? new BadRecord(error.record, error.message) : error;
  }
}

/** What `act` gives; whatever it refuses is the fault of that record. */
function at(record, act) {
  try {
    return act();
  } catch (error) {
    if (error instanceof ProtocolError && !(error instanceof BadRecord)) throw new BadRecord(record, error.message);
    throw error;
  }
}

/** Reads one log. `watch` is told every request of the observer that changes nothing. */
class Auditor {
  index = 0;
  head = null;
  trials = 0;
  verdicts = []; // those of the current record that no trial has used
  removals = [];

  /** `task`: { parameters, gradient } and `aggregates`: Map from hash to bytes, for an audit with recomputation. */
  constructor(data, { task = null, aggregates = null, watch = () => {} } = {}) {
    Object.assign(this, { genesis: genesisOf(data), task, aggregates, watch, records: items(data) });
    this.records.next();
    this.members = this.genesis.roster; // the roster at the start of the step
    this.head = this.genesis.run;
    this.protocol = at(0, () => run(OBSERVER, initialState(this.genesis, task?.parameters)));
  }

  /** Follows the log to its end, that of the run if it is complete. Returns how the run ended, or null. */
  follow() {
    try {
      let answer;
      for (;;) {
        const { value, done } = at(this.index, () => this.protocol.next(answer));
        if (done) return value[0];
        answer = this.serve(value);
      }
    } catch (error) {
      if (error instanceof EndOfLog) return null;
      throw error;
    }
  }

  serve(request) {
    this.watch(request);
    switch (request.kind) {
      case 'broadcast':
        return this.deliver(request);
      case 'verdict':
        return this.readVerdict(request);
      case 'gradient':
        return this.task.gradient(request.parameters, request.seed);
      case 'contents':
        return this.aggregates && this.contents(request);
      case 'record':
        return this.compare(request.record);
      case 'attempt':
        if (request.state.attempt === 0) this.members = request.state.roster;
        return undefined;
      case 'judged':
        this.removals = request.state.removals;
        return this.checkReplica(request);
      case 'applied':
        this.removals = request.state.removals;
        return undefined;
      case 'scatter':
        return request.workers.map(() => null);
      default:
        return [];
    }
  }

  /** The next record answers an agreed phase. */
  deliver(request) {
    const { value, done } = this.records.next();
    if (done) throw new EndOfLog();
    this.index += 1;
    const record = at(this.index, () => decodeRecord(value));
    this.record = record;
    this.check(record.index === this.index, 'another index');
    this.checkEntries(record);
    const covering = record.entries.filter((entry) => entry?.logHead === this.head).length;
    if (2 * covering <= record.entries.length) throw new BadRecord(this.index - 1, 'no majority covers it'); // LOG-5
    this.check(sameSlot(record.slot, request.slot), 'not the phase that follows');
    const { entries } = record;
    const fits = entries.length === request.roster.length && entries.every((entry, k) => !entry || entry.sender === request.roster[k]);
    this.check(fits, 'entries that are not those of the roster'); // LOG-4
    this.verdicts = [...record.verdicts];
    return { vector: entries, notices: { complaints: [], evidence: [], echoes: [] } };
  }

  checkEntries({ entries, slot }) {
    const known = new Set([...this.genesis.roster, ...this.members]);
    const proper = (entry) => entry.run === this.genesis.run && sameSlot(entry.slot, slot) && known.has(entry.sender) && entry.authentic;
    this.check(entries.every((entry) => entry === null || proper(entry)), 'an entry of another run, slot or sender');
  }

  check(holds, reason) {
    if (!holds) throw new BadRecord(this.index, reason);
  }

  /** With recomputation, the state hash of a majority is that of the parameters that I have followed. */
  checkReplica({ state, agreedHash }) {
    this.check(!agreedHash || !state.replica || state.replica.stateHash === agreedHash, 'another state hash than the recomputed one');
  }

  readVerdict({ trial, transcript }) {
    const verdict = this.verdicts.shift();
    this.check(verdict !== undefined && sameTrial(verdict.trial, trial), 'a verdict is missing, or about something else');
    this.check(plausible(verdict, transcript), 'a verdict that no such trial can have'); // LOG-6
    return verdict;
  }

  /** The aggregate, from the parts that were kept; null if one is not there. */
  contents({ hashes, bounds }) {
    const aggregate = new Float32Array(bounds.at(-1)[1]);
    for (const [j, hashed] of hashes.entries()) {
      const body = this.aggregates.get(hashed);
      if (body === undefined || body.length !== 4 * (bounds[j][1] - bounds[j][0])) return null;
      cut(aggregate, bounds[j]).set(float32Vector(body));
    }
    return aggregate;
  }

  /** The record that the observer makes is the one in the log. */
  compare(record) {
    const same = equal(encode(record.verdicts.map(verdictItem)), encode(this.record.verdicts.map(verdictItem)));
    this.check(same, 'verdicts that do not follow from its messages');
    const closing = record.entries.every((entry, k) => entry === this.record.entries[k]);
    this.check(closing, 'closing entries that name another head');
    this.trials += record.verdicts.length;
    this.last = this.head;
    this.head = headAfter(record, this.head);
  }

  /** Nothing may follow the closing record. */
  finish() {
    if (!this.records.next().done) throw new BadRecord(this.index + 1, 'something follows the closing record');
  }
}

const sameTrial = (one, other) => one.step === other.step && one.accused === other.accused && one.subject === other.subject;

/** LOG-6: whether a trial of this kind can end with these findings. */
function plausible({ trial, findings }, { workers }) {
  const { accused, subject } = trial;
  const announced = [Fault.WRONG_HASH, Fault.WRONG_REPORT];
  const asWorker = findings.filter(({ fault }) => announced.includes(fault));
  const asAggregator = findings.filter(({ fault }) => fault === Fault.WRONG_AGGREGATE);
  const who = new Set(asWorker.map(({ peer }) => peer));
  if (asWorker.length + asAggregator.length !== findings.length || who.size !== asWorker.length) return false;
  if (!findings.every((finding) => possibleCorrection(finding, workers.length))) return false;
  if (subject === Subject.AGGREGATE) {
    return asAggregator.length <= 1 && asAggregator.every(({ peer }) => peer === accused) && [...who].every((peer) => workers.includes(peer));
  }
  const allowed = subject === Subject.CANDIDATE ? [Fault.WRONG_HASH] : announced;
  return findings.every(({ peer, fault }) => peer === accused && allowed.includes(fault));
}

function possibleCorrection({ fault, correction }, parts) {
  if (fault !== Fault.WRONG_REPORT) return correction.length === 0;
  return correction.length === 16 * parts && allFinite(float64Vector(correction));
}

/** Audits a whole log. Returns { run, records, trials, removals, head }; throws BadRecord. */
export function auditLog(data, options) {
  const auditor = new Auditor(data, options);
  if (auditor.follow() === null) throw new BadRecord(auditor.index + 1, 'the log ends without a closing record');
  auditor.finish();
  const { genesis, index, trials, removals, last } = auditor;
  return { run: genesis.run, records: index + 1, trials, removals, head: last };
}

/** Follows a log that goes on. Returns { records, removals, head }; throws BadRecord. */
export function followLog(data, options) {
  const auditor = new Auditor(data, options);
  auditor.follow();
  return { records: auditor.index + 1, removals: auditor.removals, head: auditor.head };
}

/** The aggregates kept beside a log, by their body hash. */
export function keptAggregates(data) {
  const bodies = [...decodeSequence(data, MAX_RECORD)].map(([, bytes]) => decode(bytes, MAX_RECORD));
  return new Map(bodies.map((body) => [bodyHash(body), body]));
}

