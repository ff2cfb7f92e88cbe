import { sorted } from '../bytes.js';
import * as mprng from '../mprng.js';
import { bytes, bytesForm, integer } from './forms.js';

export default {
  'mprng.openings': ({ secret, run, places }) =>
    places.map(([step, attempt]) => bytesForm(mprng.privateOpening(bytes(secret), run, integer(step), integer(attempt)))),
  'mprng.commitment': ({ run, peer, opening, step, attempt }) => mprng.commitment(run, integer(step), integer(attempt), peer, bytes(opening)),
  'mprng.opens': ({ run, peer, opening, commitment, step, attempt }) =>
    mprng.commitment(run, integer(step), integer(attempt), peer, bytes(opening)) === commitment,
  'mprng.combine': ({ openings }) => mprng.combine(openings.map(bytes)),
  'mprng.initial': ({ run, peers }) => mprng.initialRandomness(run, sorted(peers)),
  'mprng.gradient_seed': ({ run, randomness, step, peer }) => mprng.gradientSeed(run, randomness, integer(step), peer),
  'mprng.group_seed': ({ run, randomness, step, group }) => mprng.groupSeed(run, randomness, integer(step), integer(group)),
  'mprng.by_lot': ({ tag, randomness, step, peers }) => mprng.byLot(tag, randomness, integer(step), peers),
  'mprng.validators': ({ randomness, step, roster, count }) => mprng.drawValidators(randomness, integer(step), roster, count),
  'mprng.targets': ({ randomness, step, validators, pool }) => [...mprng.drawTargets(randomness, integer(step), validators, pool)],
  'mprng.direction': ({ randomness, part, length }) => [...mprng.direction(randomness, integer(part), length)],
};
