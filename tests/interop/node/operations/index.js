// Chapter `vectors`: every operation of the vectors, from its input as JSON to its output.

import { ProtocolError } from '../errors.js';
import arithmetic from './arithmetic.js';
import clip from './butterfly_clip.js';
import encoding from './encoding.js';
import identity from './identity.js';
import log from './log.js';
import messages from './messages.js';
import model from './model.js';
import mprng from './mprng.js';
import update from './update.js';

const OPERATIONS = { ...encoding, ...identity, ...arithmetic, ...model, ...messages, ...log, ...mprng, ...clip, ...update };

/** { output } or { refused }; undefined for an operation that is not here. */
export function evaluate(operation, input) {
  if (!Object.hasOwn(OPERATIONS, operation)) return undefined;
  try {
    return { output: OPERATIONS[operation](input) };
  } catch (error) {
    if (error instanceof ProtocolError) return { refused: error.message };
    throw error;
  }
}
