import { decode } from '../encoding.js';
import { Envelope, Phase } from '../messages.js';
import { validatorCount } from '../model.js';
import { drawTargets, drawValidators } from '../mprng.js';
import { groupSizeAt } from '../redundant_code.js';
import { closingEntries } from '../step.js';
import { bytes, integer, slot } from './forms.js';

function plan({ randomness, step, roster, tolerated, most, audited }) {
  const at = integer(step);
  const validators = drawValidators(randomness, at, roster, validatorCount(roster.length, tolerated, most));
  const targets = drawTargets(randomness, at, validators, audited.filter((peer) => roster.includes(peer)));
  return { validators, targets: [...targets], workers: roster.filter((peer) => !validators.includes(peer)) };
}

function close({ roster, tolerated, head, entries, ...input }) {
  const vector = entries.map((entry) => entry && Envelope.fromItem(decode(bytes(entry), Infinity)));
  return closingEntries({ roster, tolerated, head }, slot(input.slot), vector).map((entry) => entry && entry.digest);
}

/** BCAST-3. */
function work({ profile, now, members, candidates, tried, ...input }) {
  const { phase, attempt } = slot(input.slot);
  const opening = phase === Phase.COMMIT && attempt === 0;
  const looking = profile === 'redundant-code' && (opening || phase === Phase.AGGREGATE);
  const groups = looking ? Math.max(1, Math.floor(members / groupSizeAt(input.group_size, input.liars, now))) : 0;
  return 1 + (opening ? 1 + Math.ceil(candidates / members) : 0) + groups + tried;
}

export default { 'step.plan': plan, 'step.close': close, 'step.work': work };
