// Bytes and hex. Ids, hashes and digests are kept as lower-case hex text everywhere inside this implementation: text compares
// as the bytes do, and is a key of maps and sets. Bodies, signatures and openings are Uint8Array.

export const hex = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');

export function unhex(text) {
  if (typeof text !== 'string' || text.length % 2 || !/^[0-9a-f]*$/.test(text)) throw new TypeError('not hex digits');
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** Bytes of a part of a hash: hex text or bytes. */
export const raw = (part) => (typeof part === 'string' ? unhex(part) : part);

export function concat(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const equal = (one, other) => Buffer.compare(one, other) === 0;

/** Eight bytes, big-endian: how numbers enter a hash. */
export function uint64(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}

/** Whether the entries of a list are in strictly ascending order under `before`. */
export function ascending(list, before = (low, high) => low < high) {
  return list.every((entry, k) => k === 0 || before(list[k - 1], entry));
}

/** Compares two tuples entry by entry: negative, zero or positive. */
export function compareTuples(one, other) {
  for (let k = 0; k < one.length; k++) {
    if (one[k] < other[k]) return -1;
    if (one[k] > other[k]) return 1;
  }
  return 0;
}

export const sorted = (values, order) => [...values].sort(order ?? ((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
