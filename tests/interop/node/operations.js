// Chapter `vectors`: every operation of the vectors, from its input as JSON to its output.

import { DecodeError } from './encoding.js';

export class Refused extends Error {}

const OPERATIONS = {};

/** { output } or { refused }; undefined for an operation that is not here. */
export function evaluate(operation, input) {
  if (!Object.hasOwn(OPERATIONS, operation)) return undefined;
  try {
    return { output: OPERATIONS[operation](input) };
  } catch (error) {
    if (error instanceof Refused || error instanceof DecodeError) return { refused: error.message };
    throw error;
  }
}
