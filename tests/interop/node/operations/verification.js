import { admissibleGradient } from '../arithmetic.js';
import { Departures, learn, punishContents, uncoveredParts } from '../bans.js';
import { Subject } from '../log.js';
import { mayAccuse } from '../step.js';
import * as verification from '../verification.js';
import { bytes, bytesForm, float32, float64, integer, real, realForm, vectorForm } from './forms.js';
import { reportForm, transcript } from './transcripts.js';

const findingForm = ({ peer, fault, correction }) => ({ peer, fault, correction: bytesForm(correction) });
const ratios = (input) => ({ residual_ratio: real(input.residual_ratio), distance_ratio: real(input.distance_ratio) });

/** The result of a generator that asks for gradients: `raws` in their order. */
function answered(generator, raws) {
  let step = generator.next();
  for (const raw of raws) if (!step.done) step = generator.next(float32(raw));
  return step.value;
}

function measure({ vector, center, direction, radius }) {
  const [product, size] = verification.measure(float32(vector), float32(center), direction, real(radius));
  return { product: realForm(product), norm: realForm(size) };
}

function possibleParts({ contents, length, gradient_clip: clip }) {
  const rows = contents.map((content) => verification.readPart(bytes(content), length, real(clip)));
  return { parts: rows.map((row) => vectorForm(row ?? new Float32Array(length))), possible: rows.map((row) => row !== null) };
}

function examineWorker(input) {
  const past = transcript(input.transcript);
  const finding = verification.examineWorker(past, input.worker, admissibleGradient(float32(input.raw), past.gradientClip));
  return finding && findingForm(finding);
}

function tried(trial, input, raws) {
  const ratio = input.residual_ratio === undefined ? 0 : real(input.residual_ratio);
  const past = { ...transcript(input.transcript), parameters: [], stateHash: '' };
  return answered(verification.judge(trial, past, ratio), raws).findings.map(findingForm);
}

function afterVerdict(input) {
  const findings = input.findings.map((finding) => ({ ...finding, correction: bytes(finding.correction) }));
  const past = learn(transcript(input.transcript), { trial: { accused: input.accused, subject: input.subject }, findings });
  return {
    reports: past.reports.map(reportForm), settled: [...past.settled].sort(), parts: uncoveredParts(ratios(input), past, findings),
  };
}

function impossibleAggregates({ tolerated, reveals }) {
  const delivered = new Map(reveals.map(({ sender, accusations, complaints }) =>
    [sender, { kind: 'reveal', accusations: accusations.map((accused) => ({ accused })), notices: { complaints } }]));
  const departures = new Departures(null);
  punishContents({ tolerated }, delivered, departures);
  return departures.removals.map(({ peer }) => peer);
}

function accusation(input) {
  const history = input.workers.map(([step, workers]) => ({ step: integer(step), workers }));
  const plan = { targets: new Map(input.targets), inspectors: new Map(input.inspectors) };
  const state = { step: integer(input.step), history };
  return mayAccuse(state, { number: input.attempt, plan }, input.sender, { accused: input.accused, step: integer(input.about) });
}

function possibleReport(input) {
  const message = { products: bytes(input.products), norms: bytes(input.norms), chunks: input.chunks.map(bytes) };
  return verification.possibleReport(transcript(input.transcript), message);
}

export default {
  'verification.measure': measure,
  'verification.report': (input) => reportForm(verification.reportOf(transcript(input.transcript), float32(input.gradient))),
  'verification.possible_report': possibleReport,
  'verification.c2': ({ products, radius, residual_ratio: ratio }) => verification.c2(float64(products), real(radius), real(ratio)),
  'verification.c3': ({ norms, radius, distance_ratio: ratio, tolerated }) => verification.c3(float64(norms), real(radius), real(ratio), tolerated),
  'verification.failing_parts': (input) => verification.failingParts(transcript(input.transcript), ratios(input)),
  'verification.possible_parts': possibleParts,
  'verification.lying_workers': (input) =>
    verification.lyingWorkers(transcript(input.transcript), input.part, input.inputs.map(float32), input.impossible),
  'verification.examine_worker': examineWorker,
  'verification.try_candidate': (input) => tried({ accused: input.candidate, subject: Subject.CANDIDATE }, input, [input.raw]),
  'verification.try_aggregator': (input) => tried({ accused: input.accused, subject: Subject.AGGREGATE }, input, input.raws),
  'verification.after_verdict': afterVerdict,
  'verification.possible_aggregate': ({ content, length }) => verification.readAggregate(bytes(content), length) !== null,
  'verification.impossible_aggregates': impossibleAggregates,
  'verification.may_accuse': accusation,
  'verification.gradients_of_trial': (input) => verification.distinctGradients(transcript(input.transcript)),
};

