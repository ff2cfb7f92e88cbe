// Chapter `conformance`: the analytic task that gradients come from.

import { expand } from './encoding.js';

const DEVIATION = Math.sqrt((2 ** 32 - 1) / 12); // q

/** { parameters, gradient(parameters, seed) } of a quadratic task. */
export function quadratic({ dimension, mu, smoothness, noise }) {
  const draws = expand('btard/training/draw', [new TextEncoder().encode('quadratic')], 4 * dimension);
  const view = new DataView(draws.buffer, draws.byteOffset);
  const optimum = Float32Array.from({ length: dimension }, (_, k) => (view.getUint32(4 * k, true) - 2147483647.5) * 2 ** -31);
  const curvature = Float64Array.from({ length: dimension }, (_, k) => mu + (smoothness - mu) * (k / Math.max(dimension - 1, 1)));
  const scale = noise / DEVIATION / Math.sqrt(dimension);
  const gradient = (parameters, seed) => {
    const noises = new DataView(Uint8Array.from(expand('btard/training/noise', [seed], 2 * dimension)).buffer);
    return Float32Array.from(parameters, (x, k) => curvature[k] * (x - optimum[k]) + (noises.getInt16(2 * k, true) + 0.5) * scale);
  };
  return { parameters: new Float32Array(dimension), gradient };
}
