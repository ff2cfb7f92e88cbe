// Chapter `majority_vote`: signs, counting, and the chunks that are shown. Pure functions; no peer plays this profile here.
// Bit i mod 8, from the lowest, of byte ⌊i/8⌋ is entry i: set for +.

import { cut, lengthOf, partition } from './butterfly_clip.js';
import { concat, equal, uint64 } from './bytes.js';
import { CHUNK_BYTES, chunkCount, chunkLength, chunkOf, expand, pathLength, treeHolds, treeLevels, treePath } from './encoding.js';

const FORGED_SHARE = 0.5;
export const MAX_CHUNK_BYTES = 2 ** 19;

const packedLength = (length) => Math.ceil(length / 8);

/** The bytes of `length` bits that `bit` gives. */
function packed(length, bit) {
  const bytes = new Uint8Array(packedLength(length));
  for (let i = 0; i < length; i++) if (bit(i)) bytes[i >> 3] |= 1 << (i & 7);
  return bytes;
}

const isSet = (bytes, i) => ((bytes[i >> 3] >> (i & 7)) & 1) === 1;

/** SIGN-2: + where i + t is even. */
const nullSign = (i, step) => (BigInt(i) + BigInt(step)) % 2n === 0n;
const nullSigns = (length, step) => packed(length, (i) => nullSign(i, step));

/** The signs of a vector (SIGN-1). */
export const packSigns = (vector, step) => packed(vector.length, (i) => vector[i] > 0 || (vector[i] === 0 && nullSign(i, step)));

/** The majority's signs (SIGN-3). */
export function majority(votes, length, step) {
  return packed(length, (i) => {
    const twice = 2 * votes.filter((bits) => isSet(bits, i)).length;
    return twice === votes.length ? nullSign(i, step) : twice > votes.length;
  });
}

const clearBeyond = (bytes, length) => packed(length, (i) => isSet(bytes, i));
const isClean = (bytes, length) => bytes.length === packedLength(length) && bytes.every((byte, k) => byte === clearBeyond(bytes, length)[k]);

/** A ballot as it is counted, and whether some gradient has it (SIGN-7). */
export function readBallot(body, length) {
  if (body.length !== packedLength(length)) return [new Uint8Array(packedLength(length)), false];
  return [clearBeyond(body, length), isClean(body, length)];
}

/** The ±1 of a tally; null if it is an impossible aggregate (SIGN-8). */
export function readTally(body, length) {
  if (!isClean(body, length)) return null;
  return Float32Array.from({ length }, (_, i) => (isSet(body, i) ? 1 : -1));
}

/** k: how many chunks of each part are shown (SIGN-4). */
export function checkedChunks(detection) {
  let count = 1;
  for (let miss = FORGED_SHARE; miss > 1 - detection; miss *= FORGED_SHARE) count += 1;
  return count;
}

/** Which chunks of a part of `length` signs are shown (SIGN-5). */
export function chosenChunks(randomness, part, length, count) {
  const total = chunkCount(packedLength(length));
  if (total <= count) return Array.from({ length: total }, (_, k) => k);
  const found = new Set();
  for (let words = 2 * count; found.size < count; words *= 2) {
    const stream = expand('btard/chunks', [randomness, uint64(part)], 8 * words);
    const view = new DataView(stream.buffer, stream.byteOffset);
    for (let k = 0; k < words && found.size < count; k++) found.add(Number(view.getBigUint64(8 * k, true) % BigInt(total)));
  }
  return [...found].sort((a, b) => a - b);
}

/** The chunks that `shown` holds if they belong to the body of that tree hash, else null (SIGN-6). */
function readChunks(shown, root, length, indices) {
  const chunks = [];
  let at = 0;
  for (const index of indices) {
    const middle = at + chunkLength(length, index);
    const end = middle + pathLength(length, index);
    const chunk = shown.subarray(at, middle);
    if (!treeHolds(root, length, index, chunk, shown.subarray(middle, end))) return null;
    chunks.push(chunk);
    at = end;
  }
  return at === shown.length ? concat(chunks) : null;
}

/** The greatest number of bytes that the chunks of a report can take (SIGN-9). */
export function reportBytes(peers, detection, dimension) {
  let depth = 0;
  for (let count = chunkCount(packedLength(dimension)); count > 1; count = Math.ceil(count / 2)) depth += 1;
  return (peers + 1) * checkedChunks(detection) * (128 + 32 * depth + 8);
}

// -- Reports of a transcript --------------------------------------------------------------------------------

const signsOf = (transcript, part) => lengthOf(partition(transcript.dimension, transcript.workers.length)[part]);
const chosen = (transcript, part) => chosenChunks(transcript.randomness, part, signsOf(transcript, part), transcript.checked);

/** The chosen chunks of a body, each followed by its path. */
function show(body, indices) {
  const levels = treeLevels(body);
  return concat(indices.flatMap((index) => [chunkOf(body, index), treePath(levels, index)]));
}

/** What a worker's report shows of its gradient, and of the aggregate that it sent (SIGN-6). */
export function shownChunks(transcript, worker, gradient, aggregate) {
  const bounds = partition(transcript.dimension, transcript.workers.length);
  const votes = bounds.map((bound, part) => show(packSigns(cut(gradient, bound), transcript.step), chosen(transcript, part)));
  return [...votes, show(aggregate, chosen(transcript, transcript.workers.indexOf(worker)))];
}

/** The chunks that a worker's report shows, by part, and of its aggregate; null if the report is impossible (SIGN-6). */
export function openedChunks(transcript, worker, message) {
  const { workers, partHashes, aggregateHashes } = transcript;
  const row = workers.indexOf(worker);
  if (message.products.length || message.norms.length || message.chunks.length !== workers.length + 1) return null;
  const roots = [...partHashes[row], aggregateHashes[row]];
  const parts = [...workers.keys(), row];
  const opened = message.chunks.map((shown, k) =>
    readChunks(shown, roots[k], packedLength(signsOf(transcript, parts[k])), chosen(transcript, parts[k])));
  return opened.includes(null) ? null : opened;
}

/** Aggregators whose shown chunks are not the majority of the shown votes, if everyone's are shown (SIGN-10). */
export function openlyWrong(transcript, messages) {
  const { workers } = transcript;
  const opened = messages.map((message, row) => message && openedChunks(transcript, workers[row], message));
  return opened.includes(null) ? [] : workers.filter((_, part) => !counts(transcript, part, opened));
}

function counts(transcript, part, opened) {
  const length = signsOf(transcript, part);
  let at = 0;
  return chosen(transcript, part).every((index) => {
    const size = chunkLength(packedLength(length), index);
    const signs = Math.min(8 * size, length - 8 * CHUNK_BYTES * index);
    const piece = (shown) => shown.subarray(at, at + size);
    const right = majority(opened.map((shown) => piece(shown[part])), signs, transcript.step);
    const same = equal(right, piece(opened[part].at(-1)));
    at += size;
    return same;
  });
}
