// Chapter `majority_vote`: signs, counting, and the chunks that are shown. Pure functions; no peer plays this profile here.
// Bit i mod 8, from the lowest, of byte ⌊i/8⌋ is entry i: set for +.

import { concat, uint64 } from './bytes.js';
import { chunkCount, chunkLength, expand, pathLength, treeHolds } from './encoding.js';

const FORGED_SHARE = 0.5;

export const packedLength = (length) => Math.ceil(length / 8);

/** The bytes of `length` bits that `bit` gives. */
function packed(length, bit) {
  const bytes = new Uint8Array(packedLength(length));
  for (let i = 0; i < length; i++) if (bit(i)) bytes[i >> 3] |= 1 << (i & 7);
  return bytes;
}

const isSet = (bytes, i) => ((bytes[i >> 3] >> (i & 7)) & 1) === 1;

/** SIGN-2: + where i + t is even. */
const nullSign = (i, step) => (BigInt(i) + BigInt(step)) % 2n === 0n;
export const nullSigns = (length, step) => packed(length, (i) => nullSign(i, step));

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
export function readChunks(shown, root, length, indices) {
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
