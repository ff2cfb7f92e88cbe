// Chapter `vectors`: every operation of the vectors, from its input as JSON to its output.

import { ProtocolError } from '../errors.js';
import arithmetic from './arithmetic.js';
import audits, { Unsupported } from './audits.js';
import bans from './bans.js';
import broadcast from './broadcast.js';
import clip from './butterfly_clip.js';
import encoding from './encoding.js';
import exchange from './exchange.js';
import identity from './identity.js';
import log from './log.js';
import majorityVote from './majority_vote.js';
import membership from './membership.js';
import messages from './messages.js';
import model from './model.js';
import mprng from './mprng.js';
import redundantCode from './redundant_code.js';
import step from './step.js';
import update from './update.js';
import verification from './verification.js';

const OPERATIONS = { ...encoding, ...identity, ...arithmetic, ...model, ...messages, ...log, ...mprng, ...clip, ...update,
  ...verification, ...broadcast, ...exchange, ...majorityVote, ...redundantCode,
  ...bans, ...membership, ...step, ...audits };

/** { output } or { refused }; undefined for an operation that is not here. */
export function evaluate(operation, input) {
  if (!Object.hasOwn(OPERATIONS, operation)) return undefined;
  try {
    return { output: OPERATIONS[operation](input) };
  } catch (error) {
    if (error instanceof Unsupported) return undefined;
    if (error instanceof ProtocolError) return { refused: error.message };
    throw error;
  }
}
