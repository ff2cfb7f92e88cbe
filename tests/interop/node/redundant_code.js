// Chapter `redundant_code`: frames, encoding, location, decoding. Pure functions; no peer plays this profile here.
// A matrix is a list of its rows.

import { allFinite, dot, float32Vector, float64Vector, foldingSum, norm } from './arithmetic.js';
import { cut, lengthOf, partition } from './butterfly_clip.js';
import { expand, hash } from './encoding.js';
import { ProtocolError } from './errors.js';
import { byLot, direction, DIRECTION_DEVIATION } from './mprng.js';

const MAX_GROUP = 20;
const GRID = 2 ** 20;
const CONDITION_LIMIT = 24;
const UNIT = 2 ** -24;
const AGREEMENT = 12;
const SUMMATION = 7.5e-6;
const SEGMENTS = 16;
const SHORTEST_SEGMENT = 1024;
const PROJECTIONS = 3;
const LEAST_NORM = 2 ** -100;
const REPORTED_ERROR = 1e-6;
const AGGREGATE_ERROR = 1e-5;
const DEVIATIONS = 8;
const CLEARLY_OFF = 1 / 8;

function require(holds, what) {
  if (!holds) throw new ProtocolError(what);
}

// -- Frame -------------------------------------------------------------------------------------------------

/** The frame, rows × compression (CODE-1). */
export function frame(rows, compression) {
  require(1 <= compression && compression <= rows && rows <= MAX_GROUP, 'a frame has 1 <= r_c <= r <= 20');
  return Array.from({ length: rows }, (_, i) => frameRow(i, rows, compression).map((value) => Math.round(GRID * value) / GRID + 0));
}

function frameRow(i, rows, compression) {
  const odd = compression % 2;
  const row = odd ? [Math.sqrt(1 / compression)] : [];
  for (let k = 0; k < Math.floor(compression / 2); k++) {
    const turns = (2 * k + 1 + odd) * i % (2 * rows);
    const angle = Math.PI * turns / rows;
    row.push(Math.sqrt(2 / compression) * Math.cos(angle), Math.sqrt(2 / compression) * Math.sin(angle));
  }
  return row;
}

/** The rows of a group of any size (CODE-3). */
export const groupFrame = (members, rows, compression) => {
  const whole = frame(rows, compression);
  return Array.from({ length: members }, (_, i) => whole[i % rows]);
};

const gram = (rows) => rows[0].map((_, a) => rows[0].map((__, b) => rows.reduce((sum, row) => sum + row[a] * row[b], 0)));

/** Eigenvalues of a symmetric matrix, ascending, by Jacobi's rotations. */
function eigenvalues(matrix) {
  const a = matrix.map((row) => [...row]);
  const n = a.length;
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        off += a[p][q] ** 2;
        rotate(a, p, q);
      }
    }
    if (off < 1e-30) break;
  }
  return a.map((row, k) => row[k]).sort((x, y) => x - y);
}

function rotate(a, p, q) {
  if (a[p][q] === 0) return;
  const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < a.length; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
  for (let k = 0; k < a.length; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
}

function* choices(count, from, start = 0) {
  if (count === 0) return void (yield []);
  for (let k = start; k <= from - count; k++) for (const rest of choices(count - 1, from, k + 1)) yield [k, ...rest];
}

/** κ: the worst condition number of the frame without up to `liars` rows, by trying all (CODE-2). */
export function conditioning(rows, liars, compression) {
  const whole = frame(rows, compression);
  require(0 <= liars && liars <= rows - compression, 'too few rows left');
  let worst = 1;
  for (let count = 0; count <= liars; count++) {
    for (const removed of choices(count, rows)) {
      if (count && removed[0] !== 0) break; // a rotation of the circle changes no condition number, up to the grid
      const spectrum = eigenvalues(gram(whole.filter((_, i) => !removed.includes(i))));
      if (spectrum[0] <= 1e-12 * rows) return Infinity;
      worst = Math.max(worst, Math.sqrt(spectrum.at(-1) / spectrum[0]));
    }
  }
  return worst;
}

/** CODE-2. Throws for a code that is not supported. */
export function checkCode(rows, liars, compression) {
  require(compression >= 1 && liars >= 0 && rows >= 2 * liars + compression && rows <= MAX_GROUP, 'r >= 2s + r_c, r <= 20');
  require(conditioning(rows, liars, compression) <= CONDITION_LIMIT, 'a condition number of at most 24');
}

// -- Encoding ------------------------------------------------------------------------------------------------

export const codedLength = (length, compression) => Math.ceil(length / compression);

/** One member's row of a part (CODE-4). */
export function encodeRow(part, coefficients) {
  const length = codedLength(part.length, coefficients.length);
  return Float32Array.from({ length }, (_, i) => coefficients.reduce((sum, c, k) => sum + c * (part[k * length + i] ?? 0), 0));
}

// -- Least squares --------------------------------------------------------------------------------------------

/** X with A X ≈ B for a matrix A of full column rank, by the QR decomposition of modified Gram and Schmidt; null if the rank is less. */
function leastSquares(a, b) {
  const [q, width] = [a.map((row) => [...row]), a[0].length];
  const r = Array.from({ length: width }, () => new Array(width).fill(0));
  for (let k = 0; k < width; k++) {
    for (let j = 0; j < k; j++) subtractProjection(q, r, j, k);
    r[k][k] = Math.sqrt(q.reduce((sum, row) => sum + row[k] ** 2, 0));
    if (!(r[k][k] > 1e-9)) return null;
    q.forEach((row) => (row[k] /= r[k][k]));
  }
  const x = Array.from({ length: width }, (_, k) => b[0].map((__, col) => q.reduce((sum, row, i) => sum + row[k] * b[i][col], 0)));
  for (let k = width - 1; k >= 0; k--) {
    for (let j = k + 1; j < width; j++) x[k].forEach((_, col) => (x[k][col] -= r[k][j] * x[j][col]));
    x[k].forEach((_, col) => (x[k][col] /= r[k][k]));
  }
  return x;
}

function subtractProjection(q, r, j, k) {
  r[j][k] = q.reduce((sum, row) => sum + row[j] * row[k], 0);
  q.forEach((row) => (row[k] -= r[j][k] * row[j]));
}

const predicted = (coefficients, x) => x[0].map((_, col) => coefficients.reduce((sum, c, k) => sum + c * x[k][col], 0));

// -- Location -----------------------------------------------------------------------------------------------------

/** Projections of every segment of every row on private directions, and their scales: both members × columns. */
function project(rows, coins) {
  const { length } = rows[0];
  const segments = Math.max(1, Math.min(SEGMENTS, Math.floor(length / SHORTEST_SEGMENT)));
  const edges = Array.from({ length: segments + 1 }, (_, k) => Math.floor(k * length / segments));
  const z = Array.from({ length: PROJECTIONS }, (_, k) => directionOf(coins, k, length));
  return rows.map((row) => {
    const [values, scales] = [[], []];
    for (let s = 0; s < segments; s++) {
      const squares = sumOver(edges[s], edges[s + 1], (i) => row[i] * row[i]);
      const scale = Math.sqrt(squares) + 2 ** -126 * Math.sqrt(edges[s + 1] - edges[s]);
      for (const one of z) {
        values.push(sumOver(edges[s], edges[s + 1], (i) => row[i] * one[i]));
        scales.push(scale);
      }
    }
    return { values, scales };
  });
}

function sumOver(start, stop, term) {
  let sum = 0;
  for (let i = start; i < stop; i++) sum += term(i);
  return sum;
}

/** Independent odd multiples of √3/2^15 between −√3 and √3. */
function directionOf(coins, k, length) {
  const stream = expand('btard/coins', [hash('btard/coins', coins, Uint8Array.of(k))], 2 * length);
  const view = new DataView(Uint8Array.from(stream).buffer);
  return Float64Array.from({ length }, (_, i) => (2 * Math.floor(view.getInt16(2 * i, true) / 2) + 1) * (Math.sqrt(3) / 2 ** 15));
}

/** By how much rows disagree: the greatest ‖(I − P)y‖ / (u·ρ) over the columns; infinite if they do not determine the part. */
function disagreement(sketch, coefficients, set) {
  const x = leastSquares(set.map((i) => coefficients[i]), set.map((i) => sketch[i].values));
  if (x === null) return Infinity;
  const errors = set.map((i) => predicted(coefficients[i], x).map((value, col) => value - sketch[i].values[col]));
  const allowed = (col) => UNIT * Math.hypot(...set.map((i) => sketch[i].scales[col]));
  return Math.max(...errors[0].map((_, col) => Math.hypot(...errors.map((row) => row[col])) / allowed(col)));
}

/** Indices of rows that agree, at least members − liars; throws if none are found (CODE-5). */
export function agreeing(rows, coefficients, liars, coins) {
  const [members, compression] = [coefficients.length, coefficients[0].length];
  require(rows.length === members && members >= 2 * liars + compression && liars >= 0, 'rows that fit r >= 2s + r_c');
  const sketch = project(rows, coins);
  const finite = rows.map((_, i) => i).filter((i) => rows[i].every(Number.isFinite));
  const needed = members - liars;
  require(finite.length >= needed, 'undecodable: too many rows are not finite');
  if (disagreement(sketch, coefficients, finite) <= AGREEMENT) return finite;
  const found = search(sketch, coefficients, finite, needed);
  require(found !== null, 'undecodable: too few rows agree');
  return found;
}

/** Every choice of r_c rows predicts the others; the best predicted ones are refitted and tested. */
function search(sketch, coefficients, finite, needed) {
  const compression = coefficients[0].length;
  let best = null;
  for (const chosen of choices(compression, finite.length)) {
    let set = chosen.map((k) => finite[k]);
    for (let round = 0; round < 4 && set; round++) set = bestPredicted(sketch, coefficients, finite, set, needed);
    if (!set) continue;
    const size = disagreement(sketch, coefficients, set);
    if (size <= AGREEMENT && (best === null || size < best.size)) best = { set, size };
    if (best?.size <= 4) break;
  }
  if (best === null) return null;
  const { set } = best;
  for (const i of finite.filter((one) => !set.includes(one))) {
    if (disagreement(sketch, coefficients, [...set, i]) <= AGREEMENT) set.push(i);
  }
  return set.sort((a, b) => a - b);
}

function bestPredicted(sketch, coefficients, finite, set, needed) {
  const x = leastSquares(set.map((i) => coefficients[i]), set.map((i) => sketch[i].values));
  if (x === null) return null;
  const error = (i) => Math.hypot(...predicted(coefficients[i], x).map((value, col) => value - sketch[i].values[col]));
  const errors = new Map(finite.map((i) => [i, error(i)]));
  return [...finite].sort((a, b) => errors.get(a) - errors.get(b)).slice(0, needed);
}

// -- Decoding ---------------------------------------------------------------------------------------------------------

/** The part by least squares from the rows that agree (CODE-6). */
export function decode(rows, coefficients, set, length) {
  const compression = coefficients[0].length;
  const width = codedLength(length, compression);
  require(rows.length === coefficients.length && rows.every((row) => row.length === width), 'rows of the part\'s coded length');
  require(set.length >= compression && set.every((i) => i in rows), 'enough rows that are there');
  const x = leastSquares(set.map((i) => coefficients[i]), set.map((i) => Array.from(rows[i])));
  require(x !== null, 'rows that determine the part');
  return Float32Array.from(x.flat()).slice(0, length);
}

/** A row as it is counted, and whether it is possible (STEP-5, CODE-4). */
export function readRow(content, length) {
  const row = content.length === 4 * length ? float32Vector(content) : new Float32Array(length);
  const possible = content.length === 4 * length && allFinite(row);
  return [possible ? row : new Float32Array(length), possible];
}

/**
 * The part of a group and the places of its suspects; throws if the group is undecodable (CODE-14): too few rows agree, the group
 * is too small, or a row that is left out is not clearly off.
 */
export function decodeGroup(rows, { size, compression }, length, coins) {
  require(rows.length >= size, 'undecodable: a group that is too small');
  const coefficients = groupFrame(rows.length, size, compression);
  const set = agreeing(rows, coefficients, Math.floor((size - compression) / 2), coins);
  const part = decode(rows, coefficients, set, length);
  const outside = rows.map((_, i) => i).filter((i) => !set.includes(i));
  const limit = CLEARLY_OFF * norm(part);
  const off = (i) => !(norm(encodeRow(part, coefficients[i]).map((entry, k) => entry - rows[i][k])) <= limit);
  require(outside.every(off), 'undecodable: a row that is left out is not clearly off');
  return { part, outside };
}

/** δ of CODE-6. */
export const decodingBound = (rows, liars, compression, members = rows) =>
  UNIT * (Math.sqrt(Math.ceil(members / rows)) * conditioning(rows, liars, compression) + 1) * (1 + 2 ** -10) + SUMMATION;

/** The mean of the groups' parts (CODE-7). */
export function meanOf(groups) {
  require(groups.length > 0, 'there is no mean of no groups');
  return groups[0].map((_, i) => groups.reduce((sum, group) => sum + group[i], 0) / groups.length);
}

// -- Groups ------------------------------------------------------------------------------------------------------------

export const liarsAt = (liars, tolerated) => Math.min(liars, tolerated);
export const groupSizeAt = (size, liars, tolerated) => size - 2 * (liars - liarsAt(liars, tolerated));

/** Workers, in the order of their lots, dealt in turn to as many groups as there can be (CODE-10). */
function deal(workers, size) {
  const count = Math.max(1, Math.floor(workers.length / size));
  return Array.from({ length: count }, (_, index) => workers.filter((__, k) => k % count === index));
}

/** The groups of a step, by lot. */
export const drawGroups = (randomness, step, workers, size) => deal(byLot('btard/group', randomness, step, workers), size);

function binomial(n, k) {
  if (k > n) return 0n;
  let result = 1n;
  for (let i = 0n; i < BigInt(k); i++) result = result * (BigInt(n) - i) / (i + 1n);
  return result;
}

/** The probability that some group has more than `liars` of the Byzantine workers (CODE-8), rounded once. */
export function badGroupProbability(sizes, liars, workers, byzantine) {
  const fits = sizes.reduce((sum, size) => sum + size, 0) === workers && Math.min(0, ...sizes) >= 0;
  require(fits && byzantine >= 0 && byzantine <= workers && liars >= 0, 'groups that divide the workers');
  let ways = [1n, ...new Array(byzantine).fill(0n)];
  for (const size of sizes) {
    const chosen = Array.from({ length: Math.min(liars, size) + 1 }, (_, j) => binomial(size, j));
    ways = ways.map((_, k) => chosen.reduce((sum, c, j) => (j <= k ? sum + c * ways[k - j] : sum), 0n));
  }
  const total = binomial(workers, byzantine);
  return ratio(total - ways[byzantine], total);
}

/** The float64 nearest to a quotient of whole numbers, 0 ≤ quotient ≤ 1. */
function ratio(above, below) {
  if (above === 0n) return 0;
  let shift = 0n;
  while ((above << shift) / below < 1n << 64n) shift += 1n;
  const quotient = (above << shift) / below;
  const sticky = (above << shift) % below === 0n ? 0n : 1n;
  return Number((quotient << 1n) | sticky) * 2 ** -Number(shift + 1n);
}

// -- Reports --------------------------------------------------------------------------------------------------------------

/** Σ_g max(‖g‖, 2⁻¹⁰⁰), a folding sum. */
const summed = (norms) => foldingSum(Array.from(norms, (size) => Math.max(size, LEAST_NORM)));

/** What a worker sends of its gradient (CODE-11): by part, the combination of its row of the frame. */
export function codedParts({ dimension, workers, groups }, worker, gradient) {
  const group = groups.members.find((members) => members.includes(worker));
  const row = groupFrame(group.length, groups.size, groups.compression)[group.indexOf(worker)];
  return partition(dimension, workers.length).map((bound) => encodeRow(cut(gradient, bound), row));
}

/** ⟨z, g − ĝ⟩ and ‖g‖ of every part (CODE-12). */
export function reportOf({ dimension, workers, randomness, aggregate }, gradient) {
  const pairs = partition(dimension, workers.length).map((bound, j) => {
    const [mine, center] = [cut(gradient, bound), cut(aggregate, bound)];
    const difference = Float64Array.from(mine, (entry, k) => entry - center[k]);
    return [dot(direction(randomness, j, lengthOf(bound)), difference), norm(mine)];
  });
  return { products: Float64Array.from(pairs, ([product]) => product), norms: Float64Array.from(pairs, ([, size]) => size) };
}

/** CODE-13. */
export function possibleReport(level, parts, products, norms, chunks) {
  if (products.length !== 8 * parts || norms.length !== 8 * parts || chunks.length) return false;
  return allFinite(float64Vector(products)) && float64Vector(norms).every((size) => size >= 0 && size <= level);
}

/** Whether the reports about a part, by worker, add up (CODE-15). */
export function addsUp(workers, groups, { products, norms }) {
  const rows = groups.filter((group) => group.length).map((group) => group.map((worker) => workers.indexOf(worker)));
  const alike = ([first, ...others]) => others.every((row) => products[row] === products[first] && norms[row] === norms[first]);
  if (!rows.every(alike)) return false;
  const first = rows.map(([row]) => row);
  const threshold = DEVIATIONS * DIRECTION_DEVIATION * REPORTED_ERROR * summed(first.map((row) => norms[row]));
  return Math.abs(foldingSum(first.map((row) => products[row]))) <= threshold;
}

/** Whether an applied part is the mean of the groups' recomputed parts, up to rounding (CODE-16). */
export function rightAggregate(workers, groups, gradients, aggregate) {
  const chosen = groups.filter((group) => group.length).map(([first]) => gradients[workers.indexOf(first)]);
  const mean = Float64Array.from(aggregate, (_, k) => chosen.reduce((sum, gradient) => sum + gradient[k], 0) / chosen.length);
  return norm(mean.map((entry, k) => aggregate[k] - entry)) <= AGGREGATE_ERROR * summed(chosen.map(norm)) / chosen.length;
}
