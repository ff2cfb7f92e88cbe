// Chapter `step`: a peer as a generator. It yields requests { kind, … } and is resumed with their answers:
//
//   broadcast  slot, roster, envelope, tolerated, work, candidates   → { vector, notices }
//   scatter    slot, workers, envelopes, announced, work             → an envelope or null per worker
//   gather     slot, workers, envelope, announced, work              → an envelope or null per worker
//   gradient   parameters, stateHash, seed                           → float32 vector
//   letters                                                          → envelopes
//   record     record;  aggregate  content                           → nothing
//   attempt    state, plan;  applied  state                          → nothing
//   judged     state, departures, agreedHash: of a Commit            → nothing
//
// An observer has neither id nor key and sends nothing. It has two requests more:
//
//   verdict    trial, transcript                                     → the verdict that stands in the record
//   contents   hashes, bounds                                        → the aggregate, or null if it is not known

import { admissibleGradient, float64Vector, lowerMedian, vectorBytes } from './arithmetic.js';
import { aggregateCharge, Departures, Fault, holdTrials, judgeOpenly, remainingTolerance, settleComplaints } from './bans.js';
import { centeredClip, cut, initialRadii, lengthOf, nextRadii, partition } from './butterfly_clip.js';
import { compareTuples, sorted } from './bytes.js';
import { ProtocolError, ToleranceExceeded } from './errors.js';
import { headAfter, Subject } from './log.js';
import { chooseLetters, drawInspectors, endOfStep, inspections, isLetter, readLetters } from './membership.js';
import { bodyHash, encodeBody, makeSlot, mergeNotices, NO_NOTICES, Phase, sameSlot, seal } from './messages.js';
import { validatorCount } from './model.js';
import * as mprng from './mprng.js';
import { applyUpdate, initialOptimizerState, readOptimizer, stateHash } from './update.js';
import * as verification from './verification.js';

const CLOSING_STEPS = 2;

/** Somebody was removed: the attempt is void. */
class Voided extends Error {
  constructor(state) {
    super('the attempt is void');
    this.state = state;
  }
}

/** This peer was removed. */
export class Expelled extends Error {
  constructor(state) {
    super('expelled');
    this.state = state;
  }
}

// -- State -------------------------------------------------------------------------------------------------

/** The state before step 0 (STEP-1). Without parameters it is that of an observer. */
export function initialState(genesis, parameters = null) {
  const { config, run, roster } = genesis;
  return {
    config, run, roster, tolerated: config.tolerated, step: 0, attempt: 0,
    randomness: mprng.initialRandomness(run, roster), radii: initialRadii(config.dimension, config.radius_initial),
    head: run, records: 1, history: [], removals: [], last: null, work: 0, probation: [], arrivals: [], leavers: [],
    replica: parameters && initialReplica(genesis, parameters), pending: NO_NOTICES,
  };
}

function initialReplica({ config, stateHash: agreed }, parameters) {
  const optimizer = initialOptimizerState(readOptimizer(config.optimizer), config.dimension);
  const hashed = stateHash(parameters, optimizer);
  if (hashed !== agreed) throw new ProtocolError('the initial parameters are not those of the genesis record');
  return { parameters, optimizer, stateHash: hashed, kept: null };
}

const transcriptOf = (state, step) => state.history.find((past) => past.step === step);

/** Validators, targets and inspectors of a step, drawn once (STEP-2). */
export function planStep(state) {
  const most = validatorCount(state.roster.length, state.tolerated, state.config.validators);
  const validators = mprng.drawValidators(state.randomness, state.step, state.roster, most);
  const audited = transcriptOf(state, state.step - 2)?.workers ?? [];
  const targets = mprng.drawTargets(state.randomness, state.step, validators, audited.filter((peer) => state.roster.includes(peer)));
  return { validators, targets, inspectors: drawInspectors(state) };
}

/** The parts among the workers that are left, and their radii. */
function openAttempt(state, plan) {
  const workers = state.roster.filter((peer) => !plan.validators.includes(peer));
  const { config } = state;
  const bounds = partition(config.dimension, workers.length);
  const radii = nextRadii(state.radii, bounds, config.radius_factor, config.radius_min, config.radius_max);
  const slot = (phase, part = 0) => makeSlot(state.step, state.attempt, phase, part);
  return { plan, number: state.attempt, workers, bounds, radii, slot, partHashes: [], aggregateHashes: null };
}

const advance = (state, randomness = state.randomness) => ({ ...state, step: state.step + 1, attempt: 0, randomness });

// -- The run ------------------------------------------------------------------------------------------------------

/** A whole run. `peer`: { id, identity, leaves(state) }, or { id: null } for an observer. Returns [how it ended, the last state]. */
export function* run(peer, state) {
  while (state.step < state.config.steps) {
    state = yield* trainingStep(peer, state);
    yield { kind: 'applied', state };
    if (peer.id && !state.roster.includes(peer.id)) return ['left', state];
  }
  while (state.step < state.config.steps + CLOSING_STEPS) state = yield* closingStep(peer, state);
  return ['closed', yield* close(peer, state)];
}

/** One step: compute once, then attempt until nobody leaves (STEP-9). */
function* trainingStep(peer, state) {
  const plan = planStep(state);
  let work = yield* prepare(peer, state, plan);
  for (;;) {
    try {
      return yield* attemptStep(peer, state, plan, work);
    } catch (voided) {
      if (!(voided instanceof Voided)) throw voided;
      [state, work] = [voided.state, { gradient: work.gradient, accusations: [], letters: [] }];
    }
  }
}

/** The gradient of a worker, what audits found, and the letters to bring. */
function* prepare(peer, state, plan) {
  if (!peer.id) return { gradient: null, accusations: [], letters: [] };
  const accusations = liesAboutMyPart(peer, state).map((accused) => ({ accused, step: state.step - 1 }));
  const past = transcriptOf(state, state.step - 2);
  const target = plan.targets.get(peer.id);
  if (target && past && (yield* verification.audit(past, target))) accusations.push({ accused: target, step: past.step });
  for (const [candidate, inspector] of plan.inspectors) {
    if (inspector === peer.id && !(yield* verification.inspect(past, candidate))) accusations.push({ accused: candidate, step: past.step });
  }
  const training = state.step < state.config.steps;
  const gradient = training && !plan.validators.includes(peer.id) ? yield* myGradient(peer, state) : null;
  const letters = training ? chooseLetters(state, yield { kind: 'letters' }) : [];
  accusations.sort((a, b) => compareTuples([a.accused, a.step], [b.accused, b.step]));
  return { gradient, accusations, letters };
}

function* myGradient(peer, state) {
  const seed = mprng.gradientSeed(state.run, state.randomness, state.step, peer.id);
  const { parameters, stateHash: hashed } = state.replica;
  return admissibleGradient(yield { kind: 'gradient', parameters, stateHash: hashed, seed }, state.config.gradient_clip);
}

/** C1: whom I accuse as an aggregator of the last applied attempt (VER-5). */
function liesAboutMyPart(peer, state) {
  const past = transcriptOf(state, state.step - 1);
  const { kept } = state.replica;
  if (!past || !kept) return [];
  const liars = verification.lyingWorkers(past, past.workers.indexOf(peer.id), kept.inputs, kept.impossible);
  return liars.filter((liar) => liar !== peer.id && state.roster.includes(liar));
}

/** The six phases. Throws Voided as soon as anyone leaves (STEP-3 to STEP-8). */
function* attemptStep(peer, state, plan, work) {
  const attempt = openAttempt(state, plan);
  yield { kind: 'attempt', state, plan, workers: attempt.workers };
  const { gradient } = work;
  let messages;

  // Commit: bind everyone to its gradient and its share of randomness before anything is shown.
  const opening = () => myOpening(peer, state);
  const commit = () => commitMessage(peer, state, attempt, opening(), work);
  [state, messages] = yield* agree(peer, state, attempt, Phase.COMMIT, commit, new CommitRules());
  withCommits(attempt, state, messages);

  // Scatter and Aggregate: part j of every gradient goes to worker j, who aggregates and announces.
  const received = yield* scatter(peer, state, attempt, gradient);
  const mine = yield* myAggregate(peer, state, attempt, received.inputs);
  const announcement = () => aggregateMessage(mine, received.notices);
  [state, messages] = yield* agree(peer, state, attempt, Phase.AGGREGATE, announcement, new AggregateRules());
  attempt.aggregateHashes = attempt.workers.map((worker) => messages.get(worker).aggregateHash);

  // Gather and Reveal: everyone gets every aggregate; then the shares of randomness are opened.
  const gathered = yield* gather(peer, state, attempt, mine);
  const reveal = () => ({ kind: 'reveal', opening: opening(), accusations: gathered.accusations, notices: gathered.notices });
  [state, messages] = yield* agree(peer, state, attempt, Phase.REVEAL, reveal, new RevealRules());
  const randomness = mprng.combine([...messages.values()].map((message) => message.opening));

  // Report: what every part did to my gradient, projected on directions that nobody could foresee.
  const rules = new ReportRules(transcribe(state, attempt, randomness, gathered.aggregate));
  const report = () => reportMessage(rules.transcript, gradient);
  [state, messages] = yield* agree(peer, state, attempt, Phase.REPORT, report, rules);
  const kept = received.inputs && { inputs: received.inputs, impossible: received.impossible };
  return applyStep(state, rules.transcript, kept, attempt.leaving);
}

const myOpening = (peer, state) => peer.identity.withSecret((secret) => mprng.privateOpening(secret, state.run, state.step, state.attempt));

// -- An agreed phase ------------------------------------------------------------------------------------------

/** Broadcast, judge in the fixed order, record (BAN-1). `say` makes my message. Returns the state and the messages by sender. */
function* agree(peer, state, attempt, phase, say, rules) {
  const slot = attempt.slot(phase);
  const delivery = yield* broadcast(peer, state, slot, say);
  const departures = new Departures(slot);
  const delivered = judgeOpenly(state, attempt, delivery.vector, rules, departures);
  let verdicts;
  [state, verdicts] = yield* holdTrials(state, attempt, delivered, rules, departures);
  state = yield* write(state, slot, delivery, verdicts);
  settleComplaints(state, delivered, departures);
  state = hearCandidates(state, delivered, rules, departures);
  if (departures.removals.length) state = remove(state, departures);
  yield { kind: 'judged', state, departures, agreedHash: rules.stateHash };
  if (departures.out(peer.id) || departures.refused(peer.id)) throw new Expelled(state);
  if (departures.removals.length) throw new Voided(state);
  return [state, delivered];
}

/** Sends a message with what the channel told me to say, and gets everyone's. */
function* broadcast(peer, state, slot, say) {
  const { roster, tolerated, head } = state;
  const candidates = state.probation.map((candidate) => candidate.peer);
  const envelope = peer.id && seal(peer.identity, state.run, slot, head, encodeBody(withNotices(say(), state.pending)));
  return yield { kind: 'broadcast', slot, roster, envelope, tolerated, work: workBefore(state, slot), candidates, head, state };
}

const withNotices = (message, notices) =>
  (message.kind === 'closing' ? message : { ...message, notices: mergeNotices(message.notices, notices) });

/** How many gradients' time an honest peer may need before its message (BCAST-3). */
function workBefore(state, slot) {
  const opening = slot.phase === Phase.COMMIT && slot.attempt === 0;
  return 1 + (opening ? 1 + inspections(state) : 0) + state.work;
}

/** The record of a phase, and what the next one refers to. */
function* write(state, slot, { vector, notices }, verdicts) {
  const record = { index: state.records, slot, entries: vector, verdicts };
  yield { kind: 'record', record };
  const last = { slot, roster: state.roster, digests: vector.map((entry) => entry && entry.digest) };
  return { ...state, head: headAfter(record, state.head), records: state.records + 1, last, pending: notices };
}

/** Letters are read last; refused candidates are struck out, and who has just left is forgotten. */
function hearCandidates(state, delivered, rules, departures) {
  if (rules.hearsLetters) state = readLetters(state, delivered, departures);
  const probation = state.probation.filter(({ peer }) => !departures.refused(peer));
  return { ...state, probation, leavers: [], removals: [...state.removals, ...departures.refusals] };
}

/** The state from which the void attempt is retried (STEP-9). */
function remove(state, { removals }) {
  const gone = new Set(removals.map((removal) => removal.peer));
  return {
    ...state,
    roster: state.roster.filter((peer) => !gone.has(peer)),
    tolerated: remainingTolerance(state.tolerated, removals),
    attempt: state.attempt + 1,
    removals: [...state.removals, ...removals],
  };
}

/** What the phases have in common; see chapter `bans` for what each method is asked. */
class Rules {
  needsEveryone = false;
  hearsLetters = false;
  begin() {}
  charges() {
    return [];
  }
  transcripts(state) {
    return new Map(state.history.map((past) => [past.step, past]));
  }
  settle(state, transcripts) {
    return { ...state, history: state.history.map((past) => transcripts.get(past.step)) };
  }
}

// -- Commit ------------------------------------------------------------------------------------------------------

function commitMessage(peer, state, attempt, opening, { gradient, accusations, letters }) {
  return {
    kind: 'commit',
    partHashes: gradient ? verification.hashesOf(gradient, attempt.bounds) : [], // STEP-3
    commitment: mprng.commitment(state.run, state.step, state.attempt, peer.id, opening), // MPRNG-2
    stateHash: state.replica.stateHash,
    accusations,
    letters,
    leaving: peer.leaves(state),
    notices: NO_NOTICES,
  };
}

class CommitRules extends Rules {
  constructor(closing = false) {
    super();
    this.closing = closing;
    this.hearsLetters = !closing;
  }

  /** The state hash that a strict majority of the roster announces (STEP-4). */
  begin(state, attempt, delivered) {
    const votes = new Map();
    for (const message of delivered.values()) votes.set(message.stateHash, (votes.get(message.stateHash) ?? 0) + 1);
    const leader = [...votes.keys()].find((hashed) => 2 * votes.get(hashed) > state.roster.length);
    if (leader === undefined) throw new ToleranceExceeded('no strict majority for a state hash');
    this.stateHash = leader;
  }

  fault(state, attempt, sender, message) {
    const works = attempt.workers.includes(sender) && !this.closing;
    if (message.partHashes.length !== (works ? attempt.workers.length : 0)) return Fault.MALFORMED; // STEP-3
    if (!message.accusations.every((accusation) => mayAccuse(state, attempt, sender, accusation))) return Fault.FALSE_NOTICE;
    if (!message.letters.every((letter) => isLetter(letter, state.run))) return Fault.FALSE_NOTICE;
    return message.stateHash === this.stateHash ? null : Fault.DIVERGED;
  }

  /** One trial per accused and step, then those of whoever has just left (BAN-8, MEMB-9). */
  charges(state, attempt, delivered) {
    const accused = accusationCharges(state, attempt, delivered);
    const tried = (trial) => accused.some((charge) => charge.trial.accused === trial.accused && charge.trial.step === trial.step);
    const exams = sorted(state.leavers).flatMap((leaver) => state.history.filter(({ workers }) => workers.includes(leaver))
      .map((past) => ({ trial: { step: past.step, accused: leaver, subject: Subject.WORKER }, accusers: [] })));
    return [...accused, ...exams.filter(({ trial }) => !tried(trial))];
  }
}

/** VER-6: C1 by aggregators about t − 1, C4 by validators and inspectors about t − 2, in the first attempt only. */
export function mayAccuse(state, attempt, sender, { accused, step }) {
  const past = transcriptOf(state, step);
  if (attempt.number > 0 || !past || accused === sender) return false;
  const { inspectors, targets } = attempt.plan;
  if (inspectors.has(accused) && step === state.step - 2) return inspectors.get(accused) === sender;
  if (!past.workers.includes(accused)) return false;
  return step === state.step - 1 ? past.workers.includes(sender) : targets.get(sender) === accused;
}

function accusationCharges(state, attempt, delivered) {
  const charges = new Map();
  for (const [sender, { accusations }] of delivered) {
    for (const accusation of accusations.filter((one) => mayAccuse(state, attempt, sender, one))) {
      const { accused, step } = accusation;
      const subject = transcriptOf(state, step).workers.includes(accused) ? Subject.WORKER : Subject.CANDIDATE;
      const name = `${step}/${accused}`;
      if (!charges.has(name)) charges.set(name, { trial: { step, accused, subject }, accusers: [] });
      charges.get(name).accusers.push(sender);
    }
  }
  return sorted(charges.values(), (a, b) => compareTuples([a.trial.step, a.trial.accused], [b.trial.step, b.trial.accused]));
}

function withCommits(attempt, state, messages) {
  attempt.partHashes = attempt.workers.map((worker) => messages.get(worker).partHashes);
  attempt.commitments = new Map([...messages].map(([peer, message]) => [peer, message.commitment]));
  attempt.leaving = state.roster.filter((peer) => messages.get(peer).leaving);
}

// -- Scatter and Aggregate -----------------------------------------------------------------------------------------

/** Sends part j to worker j and collects mine (STEP-5). */
function* scatter(peer, state, attempt, gradient) {
  const part = attempt.workers.indexOf(peer.id);
  const work = workBefore(state, attempt.slot(Phase.SCATTER));
  const { workers } = attempt;
  if (part < 0) {
    yield { kind: 'scatter', slot: attempt.slot(Phase.SCATTER), workers, envelopes: [], announced: [], work };
    return { inputs: null, notices: NO_NOTICES, impossible: [] };
  }
  const bodies = attempt.bounds.map((bound) => vectorBytes(cut(gradient, bound)));
  const envelopes = bodies.map((body, to) =>
    (to === part ? null : seal(peer.identity, state.run, attempt.slot(Phase.SCATTER, to), state.head, body)));
  const announced = attempt.partHashes.map((hashes) => hashes[part]);
  const slot = attempt.slot(Phase.SCATTER, part);
  const received = yield { kind: 'scatter', slot, workers, envelopes, announced, work };
  const { contents, notices } = matching(peer, workers, received, announced);
  contents.set(peer.id, bodies[part]);
  return { ...readInputs(state, attempt, part, contents), notices };
}

/** The inputs of an aggregator, a row per worker; what no gradient has counts as zeros (STEP-5). */
function readInputs(state, attempt, part, contents) {
  const length = lengthOf(attempt.bounds[part]);
  const rows = attempt.workers.map((worker) =>
    verification.readPart(contents.get(worker) ?? new Uint8Array(), length, state.config.gradient_clip));
  return {
    inputs: rows.map((row) => row ?? new Float32Array(length)),
    impossible: attempt.workers.filter((_, row) => rows[row] === null),
  };
}

/** What workers sent me: content that matches its announced hash, evidence, complaints (STEP-6). */
function matching(peer, workers, received, announced) {
  const contents = new Map();
  const notices = { complaints: [], evidence: [], echoes: [] };
  workers.forEach((worker, k) => {
    if (worker === peer.id) return;
    const envelope = received[k];
    if (envelope === null) notices.complaints.push(worker);
    else if (envelope.header.bodyHash !== announced[k]) notices.evidence.push([envelope.header]);
    else contents.set(worker, envelope.body);
  });
  return { contents, notices };
}

/** My part of what I received; null if I do not aggregate (CLIP-5). */
function* myAggregate(peer, state, attempt, inputs) {
  if (inputs === null) return null;
  const radius = attempt.radii[attempt.workers.indexOf(peer.id)];
  const vector = centeredClip(inputs, radius, state.config.residual_ratio * radius);
  yield { kind: 'aggregate', content: vectorBytes(vector) };
  return vector;
}

/** STEP-7. */
function aggregateMessage(mine, notices) {
  const reason = notices.complaints.length + notices.evidence.length > 0;
  return { kind: 'aggregate', aggregateHash: mine === null || reason ? null : bodyHash(vectorBytes(mine)), notices };
}

class AggregateRules extends Rules {
  fault(state, attempt, sender, { aggregateHash, notices }) {
    const works = attempt.workers.includes(sender);
    const nothing = aggregateHash === null;
    const named = [...notices.complaints, ...notices.evidence.map((proof) => proof[0].sender)];
    const hindered = named.some((peer) => state.roster.includes(peer));
    return nothing !== !works && !(nothing && hindered) ? Fault.MALFORMED : null; // STEP-7
  }
}

// -- Gather and Reveal ------------------------------------------------------------------------------------------------

/** Sends my aggregate to everyone and collects all (STEP-6). */
function* gather(peer, state, attempt, mine) {
  if (!peer.id) {
    const aggregate = yield { kind: 'contents', hashes: attempt.aggregateHashes, bounds: attempt.bounds };
    return { aggregate, notices: NO_NOTICES, accusations: [] };
  }
  const part = attempt.workers.indexOf(peer.id);
  const slot = attempt.slot(Phase.GATHER, Math.max(0, part));
  const envelope = mine && seal(peer.identity, state.run, slot, state.head, vectorBytes(mine));
  const { workers, aggregateHashes } = attempt;
  const received = yield { kind: 'gather', slot, workers, envelope, announced: aggregateHashes, work: workBefore(state, slot) };
  const { contents, notices } = matching(peer, workers, received, aggregateHashes);
  if (mine) contents.set(peer.id, vectorBytes(mine));
  const aggregate = new Float32Array(state.config.dimension);
  const accusations = [];
  workers.filter((worker) => contents.has(worker)).forEach((worker) => {
    const bound = attempt.bounds[workers.indexOf(worker)];
    const vector = verification.readAggregate(contents.get(worker), lengthOf(bound));
    if (vector === null) accusations.push({ accused: worker, step: state.step }); // VER-10
    else aggregate.set(vector, bound[0]);
  });
  return { aggregate, notices, accusations };
}

class RevealRules extends Rules {
  constructor(closing = false) {
    super();
    this.closing = closing;
  }

  fault(state, attempt, sender, { opening, accusations }) {
    const bound = mprng.commitment(state.run, state.step, state.attempt, sender, opening);
    if (bound !== attempt.commitments.get(sender)) return Fault.WRONG_OPENING; // MPRNG-3
    const allowed = ({ accused, step }) =>
      !this.closing && accused !== sender && attempt.workers.includes(accused) && step === state.step;
    return accusations.every(allowed) ? null : Fault.FALSE_NOTICE; // VER-10
  }
}

// -- Report ---------------------------------------------------------------------------------------------------------------

function transcribe(state, attempt, randomness, aggregate) {
  return {
    run: state.run, step: state.step, tolerated: state.tolerated, gradientClip: state.config.gradient_clip,
    seedRandomness: state.randomness, randomness, workers: attempt.workers, dimension: state.config.dimension,
    radii: attempt.radii, partHashes: attempt.partHashes, aggregateHashes: attempt.aggregateHashes, reports: [],
    parameters: state.replica?.parameters ?? null, stateHash: state.replica?.stateHash, aggregate, settled: [], candidates: new Map(),
  };
}

function reportMessage(transcript, gradient) {
  const none = new Uint8Array();
  if (gradient === null) return { kind: 'report', products: none, norms: none, chunks: [], notices: NO_NOTICES }; // STEP-12
  const { products, norms } = verification.reportOf(transcript, gradient);
  return { kind: 'report', products: vectorBytes(products), norms: vectorBytes(norms), chunks: [], notices: NO_NOTICES };
}

class ReportRules extends Rules {
  needsEveryone = true;

  constructor(transcript) {
    super();
    this.transcript = transcript;
  }

  fault(state, attempt, sender, message) {
    if (attempt.workers.includes(sender)) return verification.possibleReport(this.transcript, message) ? null : Fault.IMPOSSIBLE_REPORT;
    const empty = message.products.length === 0 && message.norms.length === 0 && message.chunks.length === 0;
    return empty ? null : Fault.MALFORMED; // STEP-12
  }

  /** A trial of every aggregator whose part fails the public checks. */
  charges(state, attempt, delivered) {
    const reports = attempt.workers.map((worker) => delivered.get(worker)).map(({ products, norms }) =>
      ({ products: float64Vector(products), norms: float64Vector(norms) }));
    this.transcript = { ...this.transcript, reports };
    return verification.failingParts(this.transcript, state.config).map((part) => aggregateCharge(state.step, attempt.workers[part]));
  }

  transcripts(state) {
    return new Map([[state.step, this.transcript]]);
  }

  settle(state, transcripts) {
    this.transcript = transcripts.get(state.step);
    return state;
  }
}

// -- Applying -----------------------------------------------------------------------------------------------------------------

/** The update, the radii for the next step, the seats, and the next step (STEP-8). */
function applyStep(state, transcript, kept, leaving) {
  const medians = transcript.workers.map((_, part) => lowerMedian(transcript.reports.map((report) => report.norms[part])));
  const applied = {
    ...endOfStep(state, leaving),
    radii: { bounds: verification.boundsOf(transcript), radii: transcript.radii, medians: Float64Array.from(medians) },
    replica: state.replica && updated(state, transcript.aggregate, kept),
  };
  applied.history = [...applied.history.filter((past) => past.step === state.step - 1), transcript];
  return advance(applied, transcript.randomness);
}

function updated({ config, replica }, aggregate, kept) {
  const [parameters, optimizer] = applyUpdate(readOptimizer(config.optimizer), replica.parameters, aggregate, replica.optimizer);
  return { parameters, optimizer, stateHash: stateHash(parameters, optimizer), kept };
}

// -- Closing a run -----------------------------------------------------------------------------------------------------------

/** An audit-only step; the second one ends with its Commit (STEP-10). */
function* closingStep(peer, state) {
  const plan = planStep(state);
  let work = yield* prepare(peer, state, plan);
  const last = state.step === state.config.steps + CLOSING_STEPS - 1;
  for (;;) {
    try {
      const attempt = openAttempt(state, plan);
      yield { kind: 'attempt', state, plan, workers: attempt.workers };
      const opening = () => myOpening(peer, state);
      const commit = () => commitMessage(peer, state, attempt, opening(), work);
      let messages;
      [state, messages] = yield* agree(peer, state, attempt, Phase.COMMIT, commit, new CommitRules(true));
      if (last) return advance(state);
      withCommits(attempt, state, messages);
      const reveal = () => ({ kind: 'reveal', opening: opening(), accusations: [], notices: NO_NOTICES });
      [state, messages] = yield* agree(peer, state, attempt, Phase.REVEAL, reveal, new RevealRules(true));
      return advance(state, mprng.combine([...messages.values()].map((message) => message.opening)));
    } catch (voided) {
      if (!(voided instanceof Voided)) throw voided;
      [state, work] = [voided.state, { gradient: null, accusations: [], letters: [] }];
      if (last) return advance(state);
    }
  }
}

/** Signed final log heads; n_t − b_t equal ones are the closing record (STEP-11). */
function* close(peer, state) {
  const slot = makeSlot(state.step, 0, Phase.CLOSING);
  const delivery = yield* broadcast(peer, state, slot, () => ({ kind: 'closing', notices: NO_NOTICES }));
  const entries = closingEntries(state, slot, delivery.vector);
  yield { kind: 'record', record: { index: state.records, slot, entries, verdicts: [] } };
  return { ...state, records: state.records + 1 };
}

/** The entries of the closing record: those that name the agreed head. Throws unless there are enough. */
export function closingEntries({ roster, tolerated, head }, slot, vector) {
  const agreeing = (entry) => entry && entry.message?.kind === 'closing' && entry.logHead === head && sameSlot(entry.slot, slot);
  const entries = vector.map((entry) => (agreeing(entry) ? entry : null));
  if (entries.filter(Boolean).length < roster.length - tolerated) throw new ToleranceExceeded('fewer than n - b signed the same final head');
  return entries;
}
