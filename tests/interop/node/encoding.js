// Chapter `encoding`: the tagged hash, the XOF, the drawing of indices, CBOR items, sequences, trees of hashes.
//
// cborg reads and writes CBOR. It accepts more than the chapter does, so a fence stands between its tokens and its values.

import { sha256 } from '@noble/hashes/sha2.js';
import { shake128 } from '@noble/hashes/sha3.js';
import * as cborg from 'cborg';
import { concat, hex, raw, uint64 } from './bytes.js';
import { ProtocolError } from './errors.js';

// -- Hash and XOF ------------------------------------------------------------------------------------

const prefixes = new Map();

function prefix(tag) {
  if (!prefixes.has(tag)) {
    const digest = sha256(new TextEncoder().encode(tag));
    prefixes.set(tag, concat([digest, digest]));
  }
  return prefixes.get(tag);
}

/** H(tag, parts), as hex text; a part is bytes or hex text (ENC-1). */
export const hash = (tag, ...parts) => hex(sha256(concat([prefix(tag), ...parts.map(raw)])));

/** XOF(tag, parts; length), as bytes (ENC-2). */
export function expand(tag, parts, length) {
  return shake128(concat([prefix(tag), ...parts.map(raw)]), { dkLen: length });
}

/** `count` indices below `population` from a seed, as BigInt (ENC-3). */
export function sampleIndices(seed, count, population) {
  const size = BigInt(population);
  if (count < 0 || size < 1n || size >= 1n << 63n) throw new ProtocolError('a population lies in [1, 2^63)');
  if (count === 0) return [];
  const stream = expand('btard/sample', [seed], 8 * count);
  const view = new DataView(stream.buffer, stream.byteOffset);
  return Array.from({ length: count }, (_, k) => view.getBigUint64(8 * k, true) % size);
}

// -- Items -------------------------------------------------------------------------------------------

export const MAX_DEPTH = 16;
const ANYTHING = { items: Infinity, depth: MAX_DEPTH, named: true };
const UINT_END = 1n << 64n;

/** Any refusal of chapter `encoding`; `name` is one of its five errors. */
export class DecodeError extends ProtocolError {
  constructor(name, reason, record = undefined) {
    super(reason);
    this.name = name;
    this.record = record;
  }
}

/** The bytes of an item: number or BigInt, bytes, text, array, Map, boolean, null (ENC-4). */
export function encode(item) {
  requireItem(item);
  return new Uint8Array(cborg.encode(item));
}

function requireItem(item) {
  if (item === null || typeof item === 'boolean' || item instanceof Uint8Array) return;
  if (typeof item === 'string' && item.isWellFormed()) return;
  if (typeof item === 'number' && Number.isSafeInteger(item) && item >= 0) return;
  if (typeof item === 'bigint' && item >= 0n && item < UINT_END) return;
  if (Array.isArray(item)) return item.forEach(requireItem);
  if (item instanceof Map && [...item.keys()].every((key) => typeof key === 'string')) {
    return item.forEach((value, key) => (requireItem(key), requireItem(value)));
  }
  throw new ProtocolError('not an item');
}

const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const options = { strict: true, useMaps: true, allowBigInt: true, retainStringBytes: true };

/** Counts and checks the tokens on their way from cborg's tokeniser to its decoder. */
class Fence {
  constructor(data, position, shape) {
    this.data = data;
    this.position = position;
    this.shape = shape;
    this.left = shape.items - 1;
    this.open = []; // containers: how many entries are missing, whether it is a map, the last key
    this.tokeniser = new cborg.Tokenizer(data, options);
    this.tokeniser._pos = position;
  }

  pos() {
    return this.tokeniser.pos();
  }

  done() {
    return this.tokeniser.done();
  }

  next() {
    const at = this.pos();
    if (!isInitial(this.data[at])) throw new DecodeError('Malformed', 'no item begins with this byte'); // ENC-7
    const token = this.read();
    const major = this.data[at] >> 5;
    const inside = this.open.at(-1);
    if (inside?.map && inside.missing % 2 === 0) this.key(inside, token, major, at);
    if ((major === 3 || major === 5) && !this.shape.named) throw new DecodeError('Malformed', 'neither text nor a map belongs here');
    if (major === 3) token.value = text(token.byteValue);
    if (inside) inside.missing -= 1;
    if (major === 4 || major === 5) this.enter(Number(token.value), major === 5);
    while (this.open.length && this.open.at(-1).missing === 0) this.open.pop();
    return token;
  }

  read() {
    try {
      return this.tokeniser.next();
    } catch (error) {
      const long = /more bytes than necessary/.test(error.message);
      throw new DecodeError(long ? 'NotCanonical' : 'Malformed', error.message); // ENC-6, ENC-8
    }
  }

  enter(argument, map) {
    if (argument > this.data.length - this.pos()) throw new DecodeError('Malformed', 'a length exceeds what is left'); // ENC-12
    if (this.open.length + 1 > this.shape.depth) throw new DecodeError('TooDeep', 'too many containers inside each other'); // ENC-11
    const missing = map ? 2 * argument : argument;
    this.left -= missing;
    if (this.left < 0) throw new DecodeError('TooMany', 'too many items'); // ENC-14
    this.open.push({ missing, map, last: undefined });
  }

  key(inside, token, major, at) {
    if (major !== 3) throw new DecodeError('Malformed', 'a key is not text');
    const bytes = this.data.subarray(at, this.pos());
    if (inside.last && Buffer.compare(inside.last, bytes) >= 0) throw new DecodeError('NotCanonical', 'keys do not ascend'); // ENC-10
    inside.last = bytes;
  }
}

function isInitial(byte) {
  return byte !== undefined && ((byte & 31) < 28 && [0, 2, 3, 4, 5].includes(byte >> 5) || (byte >= 0xf4 && byte <= 0xf6));
}

function text(bytes) {
  try {
    return strictText.decode(bytes);
  } catch {
    throw new DecodeError('Malformed', 'a text string is not UTF-8'); // ENC-9
  }
}

function readItem(data, position, shape) {
  if (position >= data.length) throw new DecodeError('Malformed', 'the bytes end before an item');
  const fence = new Fence(data, position, shape);
  try {
    const [item] = cborg.decodeFirst(data, { ...options, tokenizer: fence });
    return [item, fence.pos()];
  } catch (error) {
    throw error instanceof DecodeError ? error : new DecodeError('Malformed', error.message);
  }
}

/** The item that `data` encodes (ENC-5 to ENC-12, ENC-14). Throws DecodeError. */
export function decode(data, limit, shape = ANYTHING) {
  if (data.length > limit) throw new DecodeError('Oversized', `${data.length} bytes where ${limit} are allowed`); // ENC-5
  const [item, end] = readItem(data, 0, shape);
  if (end !== data.length) throw new DecodeError('Malformed', 'bytes follow the item'); // ENC-6
  return item;
}

/** The shape of a place without text and maps. */
export const shape = (items, depth) => ({ items, depth, named: false });

/** Offset and bytes of every item of a CBOR sequence; a fault names its record (ENC-13). */
export function* decodeSequence(data, limit) {
  let offset = 0;
  for (let record = 0; offset < data.length; record++) {
    let end;
    try {
      [, end] = readItem(data, offset, ANYTHING);
      if (end - offset > limit) throw new DecodeError('Oversized', 'a record is too long');
    } catch (error) {
      throw new DecodeError(error.name, error.message, record);
    }
    yield [offset, data.subarray(offset, end)];
    offset = end;
  }
}

// -- Trees of hashes -----------------------------------------------------------------------------------

export const CHUNK_BYTES = 128;
export const chunkCount = (length) => Math.max(1, Math.ceil(length / CHUNK_BYTES));
export const chunkOf = (body, index) => body.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);

export function treeLevels(body) {
  let level = Array.from({ length: chunkCount(body.length) }, (_, k) => hash('btard/chunk', chunkOf(body, k)));
  const levels = [level];
  while (level.length > 1) {
    const lower = level;
    level = Array.from({ length: Math.ceil(lower.length / 2) }, (_, k) =>
      2 * k + 1 < lower.length ? hash('btard/pair', lower[2 * k], lower[2 * k + 1]) : lower[2 * k]);
    levels.push(level);
  }
  return levels;
}

const treeRoot = (length, top) => hash('btard/tree', uint64(length), top);

/** ENC-15. */
export const treeHash = (body) => treeRoot(body.length, treeLevels(body).at(-1)[0]);

/** The neighbours on the way from a chunk to the top, as bytes. */
export function treePath(levels, index) {
  const path = [];
  for (const level of levels.slice(0, -1)) {
    if ((index ^ 1) < level.length) path.push(raw(level[index ^ 1]));
    index >>= 1;
  }
  return concat(path);
}

/** Bytes of the path of a chunk. */
export function pathLength(length, index) {
  let hashes = 0;
  for (let count = chunkCount(length); count > 1; count = Math.ceil(count / 2)) {
    hashes += (index ^ 1) < count ? 1 : 0;
    index >>= 1;
  }
  return 32 * hashes;
}

/** Bytes of a chunk. */
export const chunkLength = (length, index) => Math.min(CHUNK_BYTES, length - index * CHUNK_BYTES);

/** Whether a chunk with a path belongs to a place of a body (ENC-16). */
export function treeHolds(root, length, index, chunk, path) {
  if (index < 0 || index >= chunkCount(length)) return false;
  if (chunk.length !== chunkLength(length, index) || path.length !== pathLength(length, index)) return false;
  let top = hash('btard/chunk', chunk);
  let at = 0;
  for (let count = chunkCount(length); count > 1; count = Math.ceil(count / 2)) {
    if ((index ^ 1) < count) {
      const beside = path.subarray(at, at + 32);
      at += 32;
      top = index % 2 ? hash('btard/pair', beside, top) : hash('btard/pair', top, beside);
    }
    index >>= 1;
  }
  return treeRoot(length, top) === root;
}
