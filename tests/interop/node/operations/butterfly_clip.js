import * as clip from '../butterfly_clip.js';
import { float32, float64, integer, real, realForm, vectorForm } from './forms.js';

const residual = ({ vectors, center, radius }) => clip.residual(vectors.map(float32), float32(center), real(radius));

export default {
  'butterfly_clip.partition': ({ dimension, workers }) => clip.partition(integer(dimension), integer(workers)),
  'butterfly_clip.carry': (input) => vectorForm(clip.carry(float64(input.values), input.old, input.new)),
  'butterfly_clip.next_radii': (input) => {
    const previous = { bounds: input.old, radii: float64(input.radii), medians: float64(input.medians) };
    return vectorForm(clip.nextRadii(previous, input.new, real(input.factor), real(input.radius_min), real(input.radius_max)));
  },
  'butterfly_clip.clip': ({ difference, radius }) => vectorForm(clip.clip(float64(difference), real(radius))),
  'butterfly_clip.residual': (input) => realForm(residual(input)),
  'butterfly_clip.is_aggregate': (input) => residual(input) <= real(input.tolerance),
  'butterfly_clip.centered_clip': ({ vectors, radius, tolerance }) =>
    vectorForm(clip.centeredClip(vectors.map(float32), real(radius), real(tolerance))),
  'butterfly_clip.distance_bound': ({ honest, byzantine, spread, radius, tolerance }) =>
    realForm(clip.distanceBound(honest, byzantine, real(spread), real(radius), real(tolerance))),
};
