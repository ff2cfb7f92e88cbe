// Chapter `node`: a peer on a network. It does no input or output: a driver hands it frames and the time, and takes its doings.

import { sha256 } from '@noble/hashes/sha2.js';
import { Ballot, decodeFrame, encodeFrame, Kind, slotOf, Timing } from './broadcast.js';
import { hex } from './bytes.js';
import { ProtocolError, ToleranceExceeded } from './errors.js';
import { exchanged } from './exchange.js';
import { ANSWERS, ARCHIVED_PHASES, fits, FRAME_COST, limitsFor, phaseKey, REMEMBERED_PHASES } from './limits.js';
import { mergeNotices, NO_NOTICES, proofOf, slotText } from './messages.js';
import { Expelled, initialState, run } from './step.js';

const MAX_KEPT_LETTERS = 1024;

/** What one link has brought and may bring. */
class Link {
  frames = 0;
  bytes = 0;
  early = 0;
  seen = [new Set()]; // digests of frames that were charged, by phase, this one first
  asked = [0, 0]; // requests that I sent it in this phase and in the one before, less the answers

  nextPhase() {
    [this.frames, this.bytes] = [0, 0];
    this.seen = [new Set(), ...this.seen].slice(0, REMEMBERED_PHASES);
    this.asked = [0, this.asked[0]];
  }

  /** Charges a frame; whether it may be read (LIM-4). */
  charge(data, limits) {
    const digest = hex(sha256(data));
    if (this.seen.some((digests) => digests.has(digest))) return false;
    if (this.frames + 1 > limits.frames || this.bytes + data.length > limits.bytes) return false;
    this.frames += 1;
    this.bytes += data.length;
    this.seen[0].add(digest);
    return true;
  }

  /** Whether an answer was asked for (LIM-6). */
  get expects() {
    return this.asked[0] + this.asked[1] > 0;
  }

  /** An answer has come, which uses a request up. */
  answered() {
    this.asked[this.asked[1] > 0 ? 1 : 0] -= 1;
  }
}

export class Node {
  /** `options`: { genesis, identity, parameters, gradient(parameters, seed), leaves(state) } */
  constructor({ genesis, identity, parameters, gradient, leaves = () => false }) {
    const { config } = genesis;
    Object.assign(this, { genesis, identity, gradient, leaves, run: genesis.run, id: identity.id });
    this.timing = new Timing(config.delay, config.gradient_time);
    this.roster = genesis.roster;
    this.candidates = [];
    this.greatest = genesis.roster.length;
    this.limits = limitsFor(this.greatest, config.dimension);
    this.links = new Map();
    this.letters = [];
    this.early = []; // arrivals of phases to come
    this.past = []; // keys of the phases that I have left
    this.current = ''; // key of the phase that I am in
    this.archive = []; // { key, ballot, answers }
    this.witnessed = new Map(); // by phase: signed headers by slot and sender
    this.late = new Map(); // late evidence by signer
    this.gradients = new Map();
    this.doings = null;
    this.protocol = run(this, initialState(genesis, parameters));
  }

  // -- What a driver calls -------------------------------------------------------------------------------

  /** The run begins. Every call returns doings: { sends: [[to, bytes]], wakeAt, records, aggregate, states, ended }. */
  start(now) {
    return this.doing(() => {
      this.ready = now; // NODE-1
      this.proceed(undefined);
      this.goOn(now);
    });
  }

  /** A link brought bytes. */
  receive(now, sender, data) {
    return this.doing(() => {
      this.read(now, sender, data);
      this.goOn(now);
    });
  }

  /** The time has come. */
  wake(now) {
    return this.doing(() => this.goOn(now));
  }

  takeLetter(letter) {
    this.letters = [...this.letters, letter].slice(-MAX_KEPT_LETTERS);
  }

  doing(act) {
    this.doings = { sends: [], records: [], states: [] };
    act();
    return { ...this.doings, wakeAt: this.waiting?.until ?? null };
  }

  // -- The protocol's requests ------------------------------------------------------------------------------

  /** Resumes the protocol, answers what needs no network, and begins the next phase. */
  proceed(answer) {
    try {
      for (;;) {
        const { value, done } = this.protocol.next(answer);
        if (done) return this.end(value[0]);
        if (['broadcast', 'scatter', 'gather'].includes(value.kind)) return this.begin(value);
        answer = this.serve(value);
      }
    } catch (error) {
      this.end(error instanceof Expelled ? 'expelled' : error.message, error);
    }
  }

  serve(request) {
    switch (request.kind) {
      case 'gradient':
        return this.evaluate(request);
      case 'letters':
        return this.letters;
      case 'record':
        return void this.doings.records.push(request.record);
      case 'aggregate':
        return void (this.doings.aggregate = request.content);
      case 'attempt':
        return void this.doings.states.push(request.state);
      default:
        return undefined;
    }
  }

  evaluate({ parameters, stateHash, seed }) {
    const name = `${stateHash}/${seed}`;
    if (!this.gradients.has(name)) {
      if (this.gradients.size > 256) this.gradients.clear();
      this.gradients.set(name, this.gradient(parameters, seed));
    }
    return this.gradients.get(name);
  }

  end(how, error = undefined) {
    Object.assign(this, { ended: how, error, task: null, waiting: null });
    this.doings.ended = how;
  }

  // -- Phases ---------------------------------------------------------------------------------------------------

  begin(request) {
    if (this.current) this.past = [...this.past, this.current].slice(-REMEMBERED_PHASES);
    this.request = request;
    this.current = phaseKey(request.slot);
    this.ready += request.work * this.timing.gradient; // BCAST-3
    for (const link of this.links.values()) link.nextPhase();
    this.forget();
    if (request.kind === 'broadcast') this.beginBroadcast(request);
    else this.task = exchanged(request, this.run, this.id, this.ready + this.timing.round);
    this.feed(undefined);
  }

  beginBroadcast({ slot, roster, envelope, tolerated, candidates, head }) {
    [this.roster, this.candidates] = [roster, candidates];
    if (roster.length > this.greatest) {
      this.greatest = roster.length;
      this.limits = limitsFor(this.greatest, this.genesis.config.dimension);
    }
    this.ballot = new Ballot({ run: this.run, slot, roster, tolerated, head, identity: this.identity });
    this.task = this.ballot.run(envelope, this.timing, this.ready);
    this.answers = new Map();
  }

  /** Signed headers are kept as long as their phase is in view. */
  forget() {
    for (const key of this.witnessed.keys()) {
      if (!this.past.includes(key) && key !== this.current) this.witnessed.delete(key);
    }
  }

  /** Resumes the phase's task with an arrival, or with null at its deadline. */
  feed(arrival) {
    try {
      let step = this.task.next(arrival);
      for (; !step.done && step.value.send; step = this.task.next()) this.send(step.value);
      this.waiting = step.done ? null : step.value;
      if (step.done) this.result = step.value;
    } catch (error) {
      if (!(error instanceof ToleranceExceeded)) throw error;
      this.end(error.message, error);
    }
  }

  /** Whatever can be done now: results, frames that were early, deadlines. */
  goOn(now) {
    for (;;) {
      if (this.task && !this.waiting) this.release(now);
      else if (this.task && this.catchUp(now)) continue;
      else if (this.waiting && this.waiting.until <= now) this.feed(null);
      else return;
    }
  }

  /** The phase is over: the protocol goes on with its result. */
  release(now) {
    const { request, result } = this;
    this.task = null;
    if (request.kind !== 'broadcast') {
      this.ready += this.timing.round;
      return this.proceed(result);
    }
    this.archive = [...this.archive, { key: this.current, ballot: this.ballot, answers: this.answers }].slice(-ARCHIVED_PHASES); // NODE-2
    this.ballot.witnessed().forEach((header) => this.witness(this.current, header));
    this.ballot = null;
    this.ready = now; // NODE-1
    const late = { ...NO_NOTICES, evidence: [...this.late.values()] };
    this.late = new Map();
    this.proceed({ ...result, notices: mergeNotices(result.notices, late) });
  }

  /** Takes in one frame that came early and whose phase has been reached; whether there was one. */
  catchUp(now) {
    const index = this.early.findIndex(({ key }) => key <= this.current);
    if (index < 0) return false;
    const [arrival] = this.early.splice(index, 1);
    this.links.get(arrival.sender).early -= arrival.size + FRAME_COST;
    this.dispatch({ ...arrival, now });
    return true;
  }

  // -- Frames in and out --------------------------------------------------------------------------------------------

  send({ send: frame, to }) {
    this.doings.sends.push([to, encodeFrame(frame)]);
    if (frame.kind !== Kind.ASK) return;
    const asked = to === null ? this.roster.filter((peer) => peer !== this.id) : [to];
    asked.forEach((peer) => (this.link(peer).asked[0] += 1));
  }

  link(peer) {
    if (!this.links.has(peer)) this.links.set(peer, new Link());
    return this.links.get(peer);
  }

  read(now, sender, data) {
    const known = this.roster.includes(sender) || this.candidates.includes(sender);
    if (!known || sender === this.id) return; // LIM-3
    const link = this.link(sender);
    if (data.length > (this.limits.kinds[data[1] ?? 0] ?? 0)) return; // LIM-2
    const answers = data[1] === Kind.ANSWER;
    if (answers && !link.expects) return; // LIM-6
    if (!link.charge(data, this.limits)) return;
    if (answers) link.answered();
    const frame = this.readFrame(data);
    if (frame === null) return;
    const key = phaseKey(slotOf(frame));
    if (!this.inView(slotOf(frame), key)) return; // LIM-9
    const arrival = { frame, sender, now, key, size: data.length };
    if (key > this.current) this.keepEarly(link, arrival);
    else this.dispatch(arrival);
  }

  readFrame(data) {
    try {
      const frame = decodeFrame(data, this.limits);
      return fits(frame, data.length, this.limits) ? frame : null;
    } catch (error) {
      if (error instanceof ProtocolError) return null; // BCAST-1
      throw error;
    }
  }

  /** My phase, the last ones, those to come of my attempt, the next attempt, the first of the next step. */
  inView({ step, attempt }, key) {
    if (key <= this.current) return key === this.current || this.past.includes(key);
    const at = this.request?.slot;
    if (!at) return this.current === '';
    return (step === at.step && attempt <= at.attempt + 1) || (step === at.step + 1 && attempt === 0);
  }

  keepEarly(link, arrival) {
    if (link.early + arrival.size + FRAME_COST > this.limits.early) return; // LIM-5
    link.early += arrival.size + FRAME_COST;
    this.early.push(arrival);
  }

  dispatch(arrival) {
    const { frame, key, sender } = arrival;
    if (key !== this.current || !this.task) return this.takeLate(arrival);
    if (frame.kind === Kind.ASK && !this.mayAsk(this.answers, sender)) return;
    this.feed(arrival);
  }

  /** A frame about a phase that I have delivered: requests are answered, second versions are evidence (NODE-2). */
  takeLate({ frame, key, sender }) {
    const place = this.archive.find((entry) => entry.key === key);
    if (place && frame.kind === Kind.ASK && this.mayAsk(place.answers, sender)) this.send({ send: place.ballot.answer(frame), to: sender });
    if (frame.kind === Kind.ENVELOPE) this.suspect(key, frame.envelope);
  }

  /** LIM-7. */
  mayAsk(answers, sender) {
    const count = (answers.get(sender) ?? 0) + 1;
    answers.set(sender, count);
    return count <= ANSWERS;
  }

  witness(key, header) {
    if (!this.witnessed.has(key)) this.witnessed.set(key, new Map());
    const slots = this.witnessed.get(key);
    const name = `${slotText(header.slot)}/${header.sender}`;
    slots.set(name, [...(slots.get(name) ?? []), header]);
    return slots.get(name);
  }

  /** A second version that comes late goes into the next message. */
  suspect(key, { header, run: theirRun, slot, sender }) {
    const known = this.witnessed.get(key)?.get(`${slotText(slot)}/${sender}`) ?? [];
    if (theirRun !== this.run || !this.roster.includes(sender) || !this.witnessed.has(key)) return;
    if (known.length > 1 || known.some((one) => one.digest === header.digest) || !header.authentic) return;
    const versions = this.witness(key, header);
    if (versions.length === 2) this.late.set(sender, proofOf(versions));
  }
}
