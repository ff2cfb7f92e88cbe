// Runs the test vectors of the specification: `node vectors.js [folder]`. Prints which fail, and how many passed by chapter.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { norm } from './arithmetic.js';
import { residual } from './butterfly_clip.js';
import { evaluate } from './operations/index.js';
import { float32, real } from './operations/forms.js';
import { decodingBound } from './redundant_code.js';

const folder = process.argv[2] ?? join(import.meta.dirname, '../../../spec/vectors');

/** The input with the bytes of files in place of their names. */
function filled(form) {
  if (form === null || typeof form !== 'object') return form;
  if (Array.isArray(form)) return form.map(filled);
  if (typeof form.file === 'string') return edited(readFileSync(join(folder, form.file)), form.edits ?? []).toString('hex');
  return Object.fromEntries(Object.entries(form).map(([key, value]) => [key, filled(value)]));
}

function edited(data, edits) {
  const pieces = [];
  let end = 0;
  for (const { at, remove, insert } of edits) {
    pieces.push(data.subarray(end, at), Buffer.from(insert, 'hex'));
    end = at + remove;
  }
  return Buffer.concat([...pieces, data.subarray(end)]);
}

/** Operations that accept more than one output: whether an output is as good as the vector's. */
const ACCEPTED = {
  'butterfly_clip.centered_clip': ({ vectors, radius, tolerance }, output, right) =>
    output.length === right.length && residual(vectors.map(float32), float32(output), real(radius)) <= real(tolerance),
  'butterfly_clip.distance_bound': (input, output, right) => near(real(output), real(right), 2 ** -40),
  'redundant_code.bad_group_probability': (input, output, right) => near(real(output), real(right), 2 ** -30),
  'redundant_code.agreeing': (input, output, right) =>
    output.length >= input.rows.length - input.liars && output.every((place) => right.includes(place)),
  'redundant_code.decode': (input, output, right) => decoded(input, output, right),
  'redundant_code.decode_group': (input, output, right) =>
    isDeepStrictEqual(output.outside, right.outside) && decoded(input, output.part, right.part),
  'broadcast.phase': (input, output, right) => isDeepStrictEqual({ ...output, sent: bag(output.sent) }, { ...right, sent: bag(right.sent) }),
};

const near = (one, other, error) => Math.abs(one - other) <= error * Math.abs(other);
const bag = (entries) => entries.map((entry) => JSON.stringify(entry)).sort();

function decoded({ size, compression, rows }, output, right) {
  const [part, truth] = [float32(output), float32(right)];
  const bound = decodingBound(size, Math.floor((size - compression) / 2), compression, rows.length);
  return part.length === truth.length && norm(part.map((entry, k) => entry - truth[k])) <= bound * norm(truth);
}

/** What is wrong with the answer to a vector; null if nothing is, undefined if the operation is unknown. */
function wrong({ operation, input, output }) {
  let answer;
  try {
    answer = evaluate(operation, filled(input));
  } catch (error) {
    return `crashed: ${error.stack}`;
  }
  if (answer === undefined) return undefined;
  if (output === undefined) return 'refused' in answer ? null : `took what must be refused: ${short(answer.output)}`;
  if ('refused' in answer) return `refused: ${answer.refused}`;
  const given = JSON.parse(JSON.stringify(answer.output));
  const right = isDeepStrictEqual(given, output) || ACCEPTED[operation]?.(filled(input), given, output);
  return right ? null : `gave ${short(given)}, not ${short(output)}`;
}

const short = (value) => JSON.stringify(value).slice(0, 300);

let failures = 0;
for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
  const { chapter, vectors } = JSON.parse(readFileSync(join(folder, name), 'utf8'));
  const unknown = new Set();
  let passed = 0;
  for (const vector of vectors) {
    const fault = wrong(vector);
    if (fault === undefined) unknown.add(vector.operation);
    else if (fault === null) passed += 1;
    else console.log(`${vector.id} (${vector.requirements.join(', ')}): ${fault}`);
    failures += fault === null || fault === undefined ? 0 : 1;
  }
  console.log(`${chapter}: ${passed} of ${vectors.length} pass${unknown.size ? `; unknown: ${[...unknown].join(', ')}` : ''}`);
}
process.exitCode = failures ? 1 : 0;
