// Chapter `verification`: reports, the checks C1 to C4, and trials. Generators yield a request for every gradient they need.

import { admissibleGradient, allFinite, dot, float32Vector, float64Vector, fold, foldingSum, norm, vectorBytes } from './arithmetic.js';
import { cut, lengthOf, partition, residual } from './butterfly_clip.js';
import { Fault } from './bans.js';
import { concat } from './bytes.js';
import { treeHash } from './encoding.js';
import { Subject } from './log.js';
import { packSigns } from './majority_vote.js';
import { bodyHash } from './messages.js';
import { direction, DIRECTION_DEVIATION, gradientSeed } from './mprng.js';
import { codedParts, reportOf as codedReport } from './redundant_code.js';

const C2_DEVIATIONS = 8;
const ROUNDING_SLACK = 1 + 2 ** -40;

// A transcript is what an attempt leaves behind: { run, step, tolerated, gradientClip, seedRandomness, randomness, workers,
// dimension, radii, partHashes, aggregateHashes, reports, parameters, stateHash, aggregate, settled, candidates }.
// `reports` has { products, norms } per worker; `candidates` maps a candidate to the hash that it committed to.

export const boundsOf = (transcript) => partition(transcript.dimension, transcript.workers.length);

const drawn = new Map();

/** z_j of every part. */
function directionsOf({ randomness, dimension, workers }) {
  const name = `${randomness}/${dimension}/${workers.length}`;
  if (!drawn.has(name)) {
    if (drawn.size > 8) drawn.clear();
    drawn.set(name, partition(dimension, workers.length).map((bound, j) => direction(randomness, j, lengthOf(bound))));
  }
  return drawn.get(name);
}

// -- Reports -----------------------------------------------------------------------------------------------

/** s and the norm of one part (VER-1). */
export function measure(vector, center, z, radius) {
  const difference = Float64Array.from(vector, (entry, k) => entry - center[k]);
  const product = dot(z, difference);
  const size = Math.sqrt(fold(difference.map((entry) => entry * entry)));
  return [(size > radius ? radius / size : 1) * product, size];
}

/** The true report about a gradient: { products, norms } by part. */
export function reportOf(transcript, gradient) {
  const directions = directionsOf(transcript);
  const pairs = boundsOf(transcript).map((bound, j) =>
    measure(cut(gradient, bound), cut(transcript.aggregate, bound), directions[j], transcript.radii[j]));
  return { products: Float64Array.from(pairs, ([s]) => s), norms: Float64Array.from(pairs, ([, size]) => size) };
}

export const reportBytes = ({ products, norms }) => concat([vectorBytes(products), vectorBytes(norms)]);

const sameNumbers = (one, other) => one.length === other.length && one.every((value, k) => value === other[k]);
const sameReport = (one, other) => sameNumbers(one.products, other.products) && sameNumbers(one.norms, other.norms);

/** Whether some gradient could have produced the message of a worker (VER-2). */
export function possibleReport(transcript, message) {
  const parts = transcript.workers.length;
  if (message.norms.length !== 8 * parts || message.chunks.length > 0) return false;
  const [products, norms] = [float64Vector(message.products), float64Vector(message.norms)];
  return directionsOf(transcript).every((z, j) => {
    const limit = Math.min(norms[j], transcript.radii[j]) * norm(z) * ROUNDING_SLACK;
    return Number.isFinite(norms[j]) && norms[j] >= 0 && Math.abs(products[j]) <= limit;
  });
}

// -- Public checks --------------------------------------------------------------------------------------------

/** C2 of a part (VER-3). */
export const c2 = (products, radius, residualRatio) =>
  Math.abs(foldingSum(products)) <= C2_DEVIATIONS * DIRECTION_DEVIATION * residualRatio * radius;

/** C3 of a part (VER-4). */
export const c3 = (norms, radius, distanceRatio, tolerated) =>
  norms.filter((size) => size <= distanceRatio * radius).length >= tolerated + 1;

/** Parts that fail C2 or C3 and have stood no trial. */
export function failingParts(transcript, config) {
  const { reports, radii, tolerated, workers, settled } = transcript;
  const holds = (part) => c2(reports.map(({ products }) => products[part]), radii[part], config.residual_ratio)
    && c3(reports.map(({ norms }) => norms[part]), radii[part], config.distance_ratio, tolerated);
  return workers.map((_, part) => part).filter((part) => !holds(part) && !settled.includes(workers[part]));
}

// -- Private checks ---------------------------------------------------------------------------------------------

/** C1 (VER-5): workers whose report about my part contradicts what they sent, or whose content was impossible. */
export function lyingWorkers(transcript, part, inputs, impossible) {
  const bound = boundsOf(transcript)[part];
  const center = cut(transcript.aggregate, bound);
  return transcript.workers.filter((peer, row) => {
    const [s, size] = measure(inputs[row], center, directionsOf(transcript)[part], transcript.radii[part]);
    const report = transcript.reports[row];
    return s !== report.products[part] || size !== report.norms[part] || impossible.includes(peer);
  });
}

/** What a worker or candidate should have committed. */
function* recomputeGradient(transcript, peer) {
  const { parameters, stateHash } = transcript;
  const seed = gradientSeed(transcript.run, transcript.seedRandomness, transcript.step, peer);
  return admissibleGradient(yield { kind: 'gradient', parameters, stateHash, seed }, transcript.gradientClip);
}

/** The hashes of the parts of a gradient. */
export const hashesOf = (gradient, bounds) => bounds.map((bound) => bodyHash(vectorBytes(cut(gradient, bound))));

/** What a worker announces in each profile: the hashes of what it sends, and the numbers of its report. */
const PROFILES = {
  btard: { hashes: (transcript, worker, gradient) => hashesOf(gradient, boundsOf(transcript)), report: reportOf },
  'majority-vote': {
    hashes: (transcript, worker, gradient) => boundsOf(transcript).map((bound) => treeHash(packSigns(cut(gradient, bound), transcript.step))),
    report: () => ({ products: new Float64Array(), norms: new Float64Array() }),
  },
  'redundant-code': {
    hashes: (transcript, worker, gradient) => codedParts(transcript, worker, gradient).map((row) => bodyHash(vectorBytes(row))),
    report: codedReport,
  },
};

/** C4 and trials (VER-7): what is wrong with a worker's announcements, as a finding; null if nothing is. */
export function examineWorker(transcript, worker, gradient) {
  const row = transcript.workers.indexOf(worker);
  const announced = transcript.partHashes[row];
  const profile = PROFILES[transcript.profile ?? 'btard'];
  if (profile.hashes(transcript, worker, gradient).some((hashed, j) => hashed !== announced[j])) {
    return { peer: worker, fault: Fault.WRONG_HASH, correction: new Uint8Array() };
  }
  const truth = profile.report(transcript, gradient);
  if (sameReport(truth, transcript.reports[row])) return null;
  return { peer: worker, fault: Fault.WRONG_REPORT, correction: reportBytes(truth) };
}

/** Whether a validator must accuse its target (VER-7). */
export function* audit(transcript, target) {
  return examineWorker(transcript, target, yield* recomputeGradient(transcript, target)) !== null;
}

/** Whether a candidate's commitment is that of its gradient (MEMB-6). */
export function* inspect(transcript, candidate) {
  const gradient = yield* recomputeGradient(transcript, candidate);
  return transcript.candidates.get(candidate) === bodyHash(vectorBytes(gradient));
}

// -- Trials ----------------------------------------------------------------------------------------------------

/** How many gradients the trial of an aggregator recomputes (VER-12): the members of a group share one. */
export const distinctGradients = ({ workers, groups }) => (groups ? groups.members.filter((group) => group.length > 0).length : workers.length);

/** The verdict of a trial (VER-8): a function of the transcript and of recomputed gradients. An observer reads it. */
export function* judge(trial, transcript, residualRatio) {
  if (transcript.parameters === null) return yield { kind: 'verdict', trial, transcript };
  if (trial.subject === Subject.AGGREGATE) return { trial, findings: yield* tryAggregator(transcript, trial.accused, residualRatio) };
  if (trial.subject === Subject.WORKER) {
    const finding = examineWorker(transcript, trial.accused, yield* recomputeGradient(transcript, trial.accused));
    return { trial, findings: finding ? [finding] : [] };
  }
  const honest = yield* inspect(transcript, trial.accused);
  return { trial, findings: honest ? [] : [{ peer: trial.accused, fault: Fault.WRONG_HASH, correction: new Uint8Array() }] };
}

/** VER-9. */
function* tryAggregator(transcript, accused, residualRatio) {
  const gradients = [];
  for (const worker of transcript.workers) gradients.push(yield* recomputeGradient(transcript, worker));
  const findings = transcript.workers.map((worker, row) => examineWorker(transcript, worker, gradients[row])).filter(Boolean);
  if (findings.some(({ fault }) => fault === Fault.WRONG_HASH)) return findings;
  const part = transcript.workers.indexOf(accused);
  const bound = boundsOf(transcript)[part];
  const size = residual(gradients.map((gradient) => cut(gradient, bound)), cut(transcript.aggregate, bound), transcript.radii[part]);
  if (size <= residualRatio * transcript.radii[part]) return findings;
  return [...findings, { peer: accused, fault: Fault.WRONG_AGGREGATE, correction: new Uint8Array() }];
}

/** The transcript with a liar's report replaced by the truth (VER-11). */
export function corrected(transcript, { peer, correction }) {
  const numbers = float64Vector(correction);
  const half = numbers.length / 2;
  const truth = { products: numbers.slice(0, half), norms: numbers.slice(half) };
  return { ...transcript, reports: transcript.reports.map((report, row) => (transcript.workers[row] === peer ? truth : report)) };
}

/** An aggregated part as a vector; null if the content has not the form of one (VER-10). */
export function readAggregate(content, length) {
  if (content.length !== 4 * length) return null;
  const vector = float32Vector(content);
  return allFinite(vector) ? vector : null;
}

/** A part as an aggregator takes it: the vector, or null if no admissible gradient has it (STEP-5). */
export function readPart(content, length, level) {
  const vector = readAggregate(content, length);
  return vector !== null && norm(vector) <= level ? vector : null;
}
