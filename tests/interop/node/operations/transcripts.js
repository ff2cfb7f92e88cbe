import { float32, float64, integer, real, vectorForm } from './forms.js';

export const report = ({ products, norms }) => ({ products: float64(products), norms: float64(norms) });
export const reportForm = ({ products, norms }) => ({ products: vectorForm(products), norms: vectorForm(norms) });

/** A transcript with the fields that are given. */
export function transcript(form) {
  const given = (name, read) => (form[name] === undefined ? undefined : read(form[name]));
  return {
    profile: form.profile,
    run: form.run,
    step: given('step', integer),
    tolerated: form.tolerated,
    gradientClip: given('gradient_clip', real),
    seedRandomness: form.seed_randomness,
    randomness: form.randomness,
    workers: form.workers,
    dimension: form.dimension,
    radii: given('radii', float64),
    partHashes: form.part_hashes,
    aggregateHashes: form.aggregate_hashes,
    reports: given('reports', (reports) => reports.map(report)),
    aggregate: given('aggregate', float32),
    settled: form.settled ?? [],
    candidates: new Map(form.candidates ?? []),
    groups: form.groups,
    checked: form.checked,
  };
}
