// Chapter `vectors`: every operation of the vectors, from its input as JSON to its output.

import { ProtocolError } from '../errors.js';
import encoding from './encoding.js';

const OPERATIONS = { ...encoding };

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
