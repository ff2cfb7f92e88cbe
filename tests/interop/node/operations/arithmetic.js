import * as arithmetic from '../arithmetic.js';
import { bytesForm, float32, float64, real, realForm, vectorForm } from './forms.js';

/** a · 2^e, exactly, where it is a float64. */
const scaled = ([a, e]) => {
  const half = Math.trunc(Number(e) / 2);
  return Number(a) * 2 ** half * 2 ** (Number(e) - half);
};

export default {
  'arithmetic.sum': ({ values }) => realForm(arithmetic.foldingSum(float64(values))),
  'arithmetic.dot': ({ left, right }) => realForm(arithmetic.dot(float64(left), float64(right))),
  'arithmetic.norm': ({ values }) => realForm(arithmetic.norm(float64(values))),
  'arithmetic.lower_median': ({ values }) => realForm(arithmetic.lowerMedian(float64(values))),
  'arithmetic.admissible_gradient': ({ raw, level }) => vectorForm(arithmetic.admissibleGradient(float32(raw), real(level))),
  'arithmetic.float32_bytes': ({ numbers }) => bytesForm(arithmetic.vectorBytes(Float32Array.from(numbers, scaled))),
  'arithmetic.float64_bytes': ({ numbers }) => bytesForm(arithmetic.vectorBytes(Float64Array.from(numbers, scaled))),
};
