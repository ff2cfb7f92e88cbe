// Chapter `model`: the configuration and the inequalities that it must satisfy.

import { ProtocolError } from './errors.js';
import { MAX_CHUNK_BYTES, reportBytes } from './majority_vote.js';
import { checkCode, groupSizeAt } from './redundant_code.js';

const MAX_PEERS = 1024;
const MAX_DIMENSION = 2 ** 32;
const MAX_STEPS = 2 ** 32;
const GREATEST_REAL = 2 ** 100;
const LEAST_NORM = 2 ** -100;

export const COUNT_FIELDS = ['peers', 'tolerated', 'dimension', 'steps', 'validators', 'liars', 'compression', 'group_size'];
export const REAL_FIELDS = ['gradient_clip', 'radius_initial', 'radius_min', 'radius_max', 'residual_ratio', 'spread_ratio',
  'distance_ratio', 'radius_factor', 'tolerance', 'margin', 'delay', 'gradient_time', 'detection'];
export const PROFILES = ['btard', 'majority-vote', 'redundant-code'];

export class ConfigurationError extends ProtocolError {}

function require(holds, inequality) {
  if (!holds) throw new ConfigurationError(inequality);
}

/** m_t (MODEL-2). */
export const validatorCount = (peers, tolerated, most) => Math.max(0, Math.min(most, peers - 2 * tolerated - 1));

/** Every census that removals can lead to: [peers, tolerated, validators]. */
export function reachable(peers, tolerated, most) {
  const found = [];
  for (let left = 0; left <= tolerated; left++) {
    for (let pairs = 0; pairs <= tolerated - left; pairs++) {
      const remaining = peers - (tolerated - left) - pairs;
      found.push([remaining, left, validatorCount(remaining, left, most)], [remaining, left, 0]);
    }
  }
  return found;
}

export const fewest = (peers, tolerated) => Math.min(peers, Math.max(2 * tolerated + 2, peers - Math.floor(peers / 4)));

/** The right side of MODEL-6. */
function distanceRatioBound([peers, tolerated, validators], phi, spread) {
  const honest = peers - validators - tolerated;
  const lying = tolerated + phi;
  if (lying >= honest) return Infinity;
  return spread + Math.max(lying / honest, spread * (honest + lying) / (honest - lying));
}

/** The left side of MODEL-7. */
function roundingReach([peers, tolerated, validators], clip, radiusMax, phi) {
  const honest = peers - validators - tolerated;
  const lying = tolerated + phi;
  if (lying >= honest) return Infinity;
  const greatest = Math.max(clip + lying * radiusMax / honest, clip * (honest + lying) / (honest - lying));
  return peers * 2 ** -24 * greatest;
}

const usual = (peers, tolerated, most) => [...reachable(peers, tolerated, most), ...reachable(fewest(peers, tolerated), tolerated, most)];

/** The κ that is used when none is given. */
export const defaultDistanceRatio = (peers, tolerated, most, phi, spread) =>
  1.01 * Math.max(...usual(peers, tolerated, most).map((census) => distanceRatioBound(census, phi, spread)));

/** The least τ_min that MODEL-7 admits. */
export const leastRadius = (peers, tolerated, most, clip, radiusMax, phi) =>
  Math.max(...usual(peers, tolerated, most).map((census) => roundingReach(census, clip, radiusMax, phi))) * 2 / phi;

function checkCounts(c) {
  require(c.tolerated >= 0, 'b >= 0');
  require(c.peers >= 2 * c.tolerated + 2, 'n >= 2b + 2'); // MODEL-1
  require(c.peers <= MAX_PEERS, 'n <= 1024');
  require(c.dimension >= c.peers, 'd >= w'); // MODEL-3
  require(c.dimension <= MAX_DIMENSION, 'd <= 2^32');
  require(c.steps >= 1 && c.steps <= MAX_STEPS, '1 <= steps <= 2^32');
  require(c.validators >= 1, 'm_max >= 1');
}

function checkConstants(c) {
  for (const name of REAL_FIELDS) require(c[name] >= 0 && c[name] <= GREATEST_REAL, `0 <= ${name} <= 2^100`); // MODEL-4
  require(c.residual_ratio > 0 && c.residual_ratio < 1, '0 < phi < 1');
  require(c.detection > 0 && c.detection < 1, '0 < P < 1');
  require(c.gradient_clip >= LEAST_NORM, 'lambda >= 2^-100');
  require(c.spread_ratio > 0, 'rho* > 0');
  require(LEAST_NORM <= c.radius_min && c.radius_min <= c.radius_max, '2^-100 <= tau_min <= tau_max');
  require(c.radius_initial > 0 && c.radius_initial <= c.radius_max, '0 < tau_0 <= tau_max');
  require(c.radius_factor > 0, 'c > 0');
  require(c.delay > 0, 'Delta > 0');
}

/** MODEL-5 to MODEL-7 for one census. */
function checkCensus(c, census) {
  const [peers, tolerated, validators] = census;
  const honest = peers - validators - tolerated;
  require(c.radius_factor * (tolerated + c.residual_ratio) < honest, 'c < h/(b + phi)'); // MODEL-5
  require(c.distance_ratio > distanceRatioBound(census, c.residual_ratio, c.spread_ratio), 'kappa (MODEL-6)'); // MODEL-6
  const rounding = roundingReach(census, c.gradient_clip, c.radius_max, c.residual_ratio);
  require(rounding <= c.residual_ratio * c.radius_min / 2, 'tau_min (MODEL-7)'); // MODEL-7
}

/** TOL-1. */
function checkTolerance({ tolerance: eta, margin: mu }) {
  require(mu === 0 || eta > 0, 'mu = 0 where eta = 0');
  require(eta === 0 || mu * (1 - eta) >= eta * (1 + eta) * (1 + 2 ** -20), 'mu >= eta(1 + eta)/(1 - eta)');
  require(eta + 2 * mu < 1, 'eta + 2mu < 1');
}

/** CODE-2 and CODE-9. */
export function checkGroups(c) {
  checkCode(c.group_size, c.liars, c.compression);
  for (const [peers, tolerated, validators] of reachable(c.peers, c.tolerated, c.validators)) {
    require(peers - validators >= groupSizeAt(c.group_size, c.liars, tolerated), 'enough workers for a group');
  }
}

const DEFAULTS = {
  validators: 4, liars: 0, compression: 1, group_size: 0, radius_factor: 1, residual_ratio: 0.1, spread_ratio: 4, distance_ratio: 0,
  tolerance: 0, margin: 0, delay: 1, gradient_time: 10, detection: 0.99, profile: 'btard', task: '', optimizer: [],
};

/** The configuration with defaults in the place of what is left open. */
export function withDefaults(given) {
  const c = { ...DEFAULTS, ...given };
  if (c.profile === 'btard' && c.distance_ratio === 0) {
    c.distance_ratio = defaultDistanceRatio(c.peers, c.tolerated, c.validators, c.residual_ratio, c.spread_ratio);
  }
  if (c.margin === 0) c.margin = 2 * c.tolerance;
  if (c.profile === 'redundant-code' && c.group_size === 0) c.group_size = 2 * c.liars + c.compression;
  return c;
}

/** Throws ConfigurationError unless the configuration satisfies MODEL-1 to MODEL-7, TOL-1 and what its profile demands. */
export function checkConfiguration(given) {
  const c = { ...given, ...Object.fromEntries(COUNT_FIELDS.map((name) => [name, Number(given[name])])) };
  require(PROFILES.includes(c.profile), 'a known profile'); // PROF-1
  checkCounts(c);
  checkConstants(c);
  require(c.profile === 'btard' || c.tolerance === 0, 'tolerance mode is for btard');
  const plain = c.liars === 0 && c.compression === 1 && c.group_size === 0;
  require(c.profile === 'redundant-code' || plain, 's = 0, r_c = 1, r = 0'); // PROF-1
  checkTolerance(c);
  if (c.profile === 'btard') reachable(c.peers, c.tolerated, c.validators).forEach((census) => checkCensus(c, census));
  if (c.profile === 'majority-vote') require(reportBytes(c.peers, c.detection, c.dimension) <= MAX_CHUNK_BYTES, 'chunks of 2^19 bytes'); // SIGN-9
  if (c.profile === 'redundant-code') checkGroups(c);
}

/** Whether a roster of that size satisfies the inequalities now and after every removal (MEMB-7). */
export function admissibleCensus(c, peers, tolerated) {
  if (peers < 2 * tolerated + 2 || peers > Math.min(MAX_PEERS, c.dimension)) return false;
  try {
    if (c.profile === 'btard') reachable(peers, tolerated, c.validators).forEach((census) => checkCensus(c, census));
    return true;
  } catch (error) {
    if (error instanceof ConfigurationError) return false;
    throw error;
  }
}
