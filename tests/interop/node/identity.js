// Chapter `identity`: keys and signatures, with one verdict for every byte string.
//
// @noble/ed25519 verifies with the cofactor; here R is recomputed as S·B − h·A and its bytes are compared.

import * as ed25519 from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { concat, equal, hex, raw } from './bytes.js';
import { ProtocolError } from './errors.js';

ed25519.hashes.sha512 = sha512;
const { Point } = ed25519;
const ORDER = Point.CURVE().n;
const NEUTRAL = hex(Point.ZERO.toBytes());

const littleEndian = (bytes) => BigInt('0x' + (hex(new Uint8Array(bytes).reverse()) || '0'));

/** A key pair. The seed stays inside (ID-1). */
export class Identity {
  #seed;

  constructor(seed) {
    if (seed.length !== 32) throw new ProtocolError('a seed has 32 bytes');
    this.#seed = seed;
    this.id = hex(ed25519.getPublicKey(seed));
  }

  /** The signature of a 32-byte digest (ID-3), 64 bytes. */
  sign(digest) {
    if (raw(digest).length !== 32) throw new ProtocolError('a digest has 32 bytes');
    return ed25519.sign(raw(digest), this.#seed);
  }

  /** A secret-keyed expansion for openings; see chapter `mprng`. */
  withSecret(use) {
    return use(this.#seed);
  }
}

const keys = new Map();

/** The point of an admissible key, or null (ID-2): canonical, on the curve, of order L. */
function keyPoint(key) {
  if (!keys.has(key)) {
    if (keys.size > 4096) keys.clear();
    keys.set(key, readKey(raw(key)));
  }
  return keys.get(key);
}

function readKey(bytes) {
  if (bytes.length !== 32) return null;
  try {
    const point = Point.fromBytes(bytes);
    const proper = equal(point.toBytes(), bytes) && !point.equals(Point.ZERO) && point.isTorsionFree();
    return proper ? point : null;
  } catch {
    return null;
  }
}

/** ID-2. */
export const admissible = (key) => keyPoint(key) !== null;

const verdicts = new Map();

/** Whether `signature` (bytes) is the signature of `digest` under `key` (ID-4 to ID-6). Never throws. */
export function verify(key, digest, signature) {
  const question = `${key}:${digest}:${hex(signature)}`;
  if (!verdicts.has(question)) {
    if (verdicts.size > 65536) verdicts.clear();
    verdicts.set(question, judge(key, digest, signature));
  }
  return verdicts.get(question);
}

function judge(key, digest, signature) {
  if (digest.length !== 64 || signature.length !== 64 || key.length !== 64) return false; // ID-4
  const point = keyPoint(key);
  if (point === null) return false;
  const commitment = signature.subarray(0, 32);
  const response = littleEndian(signature.subarray(32));
  if (response >= ORDER || hex(commitment) === NEUTRAL) return false; // ID-5
  const h = littleEndian(sha512(concat([commitment, raw(key), raw(digest)]))) % ORDER;
  const back = times(Point.BASE, response).subtract(times(point, h));
  return equal(back.toBytes(), commitment); // ID-6
}

const times = (point, scalar) => (scalar === 0n ? Point.ZERO : point.multiply(scalar, false));
