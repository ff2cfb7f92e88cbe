// Chapter `butterfly_clip`: parts, clipping radii, the residual, and one way to find an aggregate.

import { foldingSum, norm } from './arithmetic.js';
import { ProtocolError } from './errors.js';

/** The parts of a vector: pairs [start, stop] (CLIP-1). */
export function partition(dimension, workers) {
  if (dimension < 0 || workers < 1) throw new ProtocolError('nothing to cut, or nobody to cut for');
  const edge = (k) => Math.floor(k * dimension / workers);
  return Array.from({ length: workers }, (_, k) => [edge(k), edge(k + 1)]);
}

export const lengthOf = ([start, stop]) => stop - start;
export const cut = (vector, [start, stop]) => vector.subarray(start, stop);

// -- Radii -----------------------------------------------------------------------------------------------

/** radii: { bounds, radii: Float64Array, medians: Float64Array } of the last applied attempt (CLIP-3). */
export const initialRadii = (dimension, radius) =>
  ({ bounds: [[0, dimension]], radii: Float64Array.of(radius), medians: Float64Array.of(radius) });

/** Lengths of old parts carried to new parts (CLIP-2). */
export function carry(values, oldBounds, newBounds) {
  return Float64Array.from(newBounds, ([start, stop]) => {
    let sum = 0;
    oldBounds.forEach(([low, high], k) => {
      const overlap = Math.min(stop, high) - Math.max(start, low);
      if (overlap > 0) sum += overlap / (high - low) * (values[k] * values[k]);
    });
    return Math.sqrt(sum);
  });
}

/** τ of every part of an attempt (CLIP-3). */
export function nextRadii(previous, bounds, factor, least, greatest) {
  const medians = carry(previous.medians, previous.bounds, bounds);
  const radii = carry(previous.radii, previous.bounds, bounds);
  return medians.map((median, j) => Math.max(Math.min(Math.min(factor * median, 1.5 * radii[j]), greatest), least));
}

// -- Residual ----------------------------------------------------------------------------------------------

/** clip_τ(y), in canonical arithmetic. */
export function clip(difference, radius) {
  const factor = radius / Math.max(norm(difference), radius);
  return difference.map((entry) => factor * entry);
}

/** The canonical residual of `center` among `vectors` (CLIP-4). Accept only `residual <= ε`. */
export function residual(vectors, center, radius) {
  const total = new Float64Array(center.length);
  for (const vector of vectors) {
    const difference = Float64Array.from(vector, (entry, k) => entry - center[k]);
    clip(difference, radius).forEach((entry, k) => (total[k] += entry));
  }
  return norm(total);
}

// -- A solver: any vector with a small residual is right (CLIP-5) --------------------------------------------

const ROUNDS = 5000;

/** Sum of Huber's function over the distances; what the solver minimises. */
function huber(vectors, center, radius) {
  return foldingSum(vectors.map((vector) => {
    const r = norm(Float64Array.from(vector, (entry, k) => entry - center[k]));
    return r <= radius ? r * r / 2 : radius * r - radius * radius / 2;
  }));
}

/** The mean of the vectors, weighted by how little each is clipped at `center`. */
function reweighted(vectors, center, radius) {
  const sum = new Float64Array(center.length);
  let weights = 0;
  for (const vector of vectors) {
    const distance = norm(Float64Array.from(vector, (entry, k) => entry - center[k]));
    const weight = radius / Math.max(distance, radius);
    weights += weight;
    vector.forEach((entry, k) => (sum[k] += weight * entry));
  }
  return sum.map((entry) => entry / weights);
}

/** A float32 vector whose residual is at most `limit`; throws if none is found. */
export function centeredClip(vectors, radius, limit) {
  let center = coordinateMedian(vectors);
  for (let round = 0; round < ROUNDS; round++) {
    const rounded = Float32Array.from(center);
    if (residual(vectors, rounded, radius) <= limit / (round < ROUNDS / 2 ? 2 : 1)) return rounded;
    center = stretch(vectors, center, reweighted(vectors, center, radius), radius);
  }
  throw new Error('no aggregate with a small enough residual was found');
}

/** Goes on in the direction of a reweighting, in growing strides, as long as Huber's sum falls. */
function stretch(vectors, from, to, radius) {
  let best = to;
  let least = huber(vectors, to, radius);
  for (let stride = 2; stride < 1e6; stride *= 2) {
    const farther = from.map((entry, k) => entry + stride * (to[k] - entry));
    const value = huber(vectors, farther, radius);
    if (!(value < least)) break;
    [best, least] = [farther, value];
  }
  return best;
}

function coordinateMedian(vectors) {
  return Float64Array.from(vectors[0], (_, k) => vectors.map((vector) => vector[k]).sort((a, b) => a - b)[vectors.length >> 1]);
}

/** CLIP-6; throws where no bound exists. */
export function distanceBound(honest, byzantine, spread, radius, tolerance) {
  if (!(radius > 0 && spread >= 0 && tolerance >= 0 && byzantine >= 0)) throw new ProtocolError('outside of the domain');
  const pull = byzantine + tolerance / radius;
  if (!(pull < honest)) throw new ProtocolError('no distance bound exists');
  return Math.max((byzantine * radius + tolerance) / honest, spread * (honest + pull) / (honest - pull));
}
