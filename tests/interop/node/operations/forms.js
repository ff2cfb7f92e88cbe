// Chapter `vectors`: how JSON writes bytes, numbers and items.

import { float32Vector, float64Vector, vectorBytes } from '../arithmetic.js';
import { hex, unhex } from '../bytes.js';
import { ProtocolError } from '../errors.js';
import { makeSlot } from '../messages.js';

/** A number or, beyond 2^53 − 1, a BigInt. */
export function integer(form) {
  const value = BigInt(form);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= -BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

export const integerForm = (value) => (BigInt(value) <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value));

export const bytes = unhex;
export const bytesForm = hex;

export const real = (form) => float64Vector(unhex(form))[0];
export const realForm = (value) => hex(vectorBytes(Float64Array.of(value)));

function whole(data, size) {
  if (data.length % size) throw new ProtocolError(`not whole entries of ${size} bytes`);
  return data;
}

export const float32 = (form) => float32Vector(whole(unhex(form), 4));
export const float64 = (form) => float64Vector(whole(unhex(form), 8));
export const vectorForm = (vector) => hex(vectorBytes(vector));

export const slot = ([step, attempt, phase, part]) => makeSlot(integer(step), integer(attempt), phase, integer(part ?? 0));
export const slotForm = ({ step, attempt, phase, part }) => [integerForm(step), integerForm(attempt), phase, integerForm(part)];

export function item(form) {
  if (form === null || typeof form === 'boolean') return form;
  if (Array.isArray(form)) return form.map(item);
  if ('uint' in form) return integer(form.uint);
  if ('bytes' in form) return unhex(form.bytes);
  if ('text' in form) return form.text;
  if ('map' in form) return new Map(form.map.map(([key, value]) => [key, item(value)]));
  throw new ProtocolError('a form of no item');
}

export function itemForm(value) {
  if (value === null || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(itemForm);
  if (value instanceof Uint8Array) return { bytes: hex(value) };
  if (value instanceof Map) return { map: [...value].map(([key, entry]) => [key, itemForm(entry)]) };
  return typeof value === 'string' ? { text: value } : { uint: integerForm(value) };
}
