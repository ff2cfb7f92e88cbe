// Chapter `mprng`: the randomness that no peer chose, and what is drawn from it. Randomness and ids are hex text.

import { sorted, uint64 } from './bytes.js';
import { expand, hash } from './encoding.js';

const HASH_BYTES = 32;
const OPENING_BYTES = 64;
export const DIRECTION_DEVIATION = Math.sqrt((2 ** 32 - 1) / 12);

/** A peer's opening of an attempt, 64 bytes (MPRNG-1). */
export const privateOpening = (secret, run, step, attempt) =>
  expand('btard/mprng/opening', [secret, run, uint64(step), uint64(attempt)], OPENING_BYTES);

/** MPRNG-2. */
export const commitment = (run, step, attempt, peer, opening) =>
  hash('btard/mprng/commit', run, uint64(step), uint64(attempt), peer, opening);

/** r_t: the hash of the XOR of all shares (MPRNG-4). */
export function combine(openings) {
  const mixed = new Uint8Array(HASH_BYTES);
  for (const opening of openings) mixed.forEach((byte, k) => (mixed[k] = byte ^ opening[k]));
  return hash('btard/mprng/output', mixed);
}

/** r_{−1} (MPRNG-5). */
export const initialRandomness = (run, roster) => hash('btard/mprng/initial', run, ...roster);

/** ξ(i, t), with the randomness r_{t−1} (MPRNG-6). */
export const gradientSeed = (run, randomness, step, peer) => hash('btard/seed', run, randomness, uint64(step), peer);

/** The seed of a group (MPRNG-10). */
export const groupSeed = (run, randomness, step, group) => hash('btard/group-seed', run, randomness, uint64(step), uint64(group));

/** Peers in the order of their lots. */
export function byLot(tag, randomness, step, peers) {
  const lots = new Map([...peers].map((peer) => [peer, hash(tag, randomness, uint64(step), peer)]));
  return sorted(lots.keys(), (a, b) => (lots.get(a) < lots.get(b) ? -1 : 1));
}

/** V(t), in the order of their lots (MPRNG-7). */
export function drawValidators(randomness, step, roster, count) {
  return step < 2 ? [] : byLot('btard/validator', randomness, step, roster).slice(0, count);
}

/** Who audits whom: a Map from validator to target (MPRNG-8). */
export function drawTargets(randomness, step, validators, pool) {
  const targets = byLot('btard/target', randomness, step, pool.filter((peer) => !validators.includes(peer)));
  return new Map(validators.slice(0, targets.length).map((validator, k) => [validator, targets[k]]));
}

/** z_j, an Int16Array (MPRNG-9). */
export const direction = (randomness, part, length) =>
  new Int16Array(Uint8Array.from(expand('btard/direction', [randomness, uint64(part)], 2 * length)).buffer);

