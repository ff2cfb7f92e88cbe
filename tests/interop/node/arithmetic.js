// Chapter `arithmetic`: sums, norms and medians with the same bits everywhere. JavaScript numbers are float64 and every
// operation on them is rounded by itself; Math.fround rounds to float32; Math.sqrt is correctly rounded.

/** The canonical sum (ARITH-1): second half onto first half. Overwrites `work`, a Float64Array. */
export function fold(work) {
  let length = work.length;
  if (length === 0) return 0;
  let half = 1;
  while (half < length) half *= 2;
  while (half > 1) {
    half /= 2;
    for (let k = half; k < length; k++) work[k - half] += work[k];
    length = Math.min(length, half);
  }
  return work[0] + 0;
}

export const foldingSum = (values) => fold(Float64Array.from(values));

/** The canonical inner product (ARITH-2). */
export function dot(left, right) {
  const products = new Float64Array(left.length);
  for (let k = 0; k < left.length; k++) products[k] = left[k] * right[k];
  return fold(products);
}

export const norm = (values) => Math.sqrt(dot(values, values));

/** The ⌈k/2⌉-th smallest (ARITH-3). */
export const lowerMedian = (values) => Float64Array.from(values).sort()[(values.length - 1) >> 1];

/** The gradient that a worker commits (ARITH-4): finite, float32, of canonical norm below `level`. */
export function admissibleGradient(given, level) {
  const gradient = Float32Array.from(given, (entry) => (Number.isFinite(entry) ? entry : 0));
  const size = norm(gradient);
  const ceiling = level * (1 - 2 ** -20);
  return size > ceiling ? gradient.map((entry) => entry * (ceiling / size)) : gradient;
}

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
if (!LITTLE) throw new Error('this implementation lays vectors out as the machine does, which has to be little-endian');

/** The bytes of a Float32Array or Float64Array as they travel (ARITH-5). */
export const vectorBytes = (vector) => new Uint8Array(vector.buffer.slice(vector.byteOffset, vector.byteOffset + vector.byteLength));
export const float32Vector = (bytes) => new Float32Array(Uint8Array.from(bytes).buffer);
export const float64Vector = (bytes) => new Float64Array(Uint8Array.from(bytes).buffer);

export const allFinite = (vector) => vector.every(Number.isFinite);
