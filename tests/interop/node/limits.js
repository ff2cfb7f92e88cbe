// Chapter `limits`: the greatest size and number of what a node takes from its links.

import { Phase, rank } from './messages.js';

const MESSAGE_BASE = 24576;
const MESSAGE_PER_PEER = 1024;
const OVERHEAD = 512;
const MAX_CORRECTIONS = 2 ** 18;
const SPARE_FRAMES = 64;
const BYTE_PHASES = 4;
export const FRAME_COST = 1024;
export const ANSWERS = 4;
export const REMEMBERED_PHASES = 12;
export const ARCHIVED_PHASES = 3;

/** The table of the chapter for a roster of n and d parameters. The formulas were found from its numbers. */
export function limitsFor(n, d) {
  const agreed = MESSAGE_BASE + MESSAGE_PER_PEER * n + OVERHEAD;
  const vote = agreed + MAX_CORRECTIONS;
  const part = 4 * d + OVERHEAD;
  const relay = 136 * n + OVERHEAD;
  const request = 102 * n + OVERHEAD;
  const answer = 2 * n * vote + request;
  const frames = 4 * n + SPARE_FRAMES;
  return {
    agreed, vote, part, relay, request, answer, frames,
    bytes: BYTE_PHASES * (2 * part + vote + frames * relay + 4 * request) + 4 * answer,
    items: Math.max(8 + 23 * n, 14 + 3 * n),
    early: 8 * d + vote + 2560 * n + 38400,
    kinds: [Math.max(vote, part), relay, request, request, answer],
  };
}

/** Whether an envelope is no longer than what an honest peer sends in its slot, and has a part index of one (LIM-1). */
export function modest(envelope, size, limits, peers, announcesParts) {
  const { phase, part } = envelope.slot;
  if (announcesParts.includes(phase)) return part < peers && size <= limits.part;
  if (part > 1) return false;
  const vote = phase === Phase.COMMIT_VOTE || phase === Phase.REPORT_VOTE;
  return size <= (part === 1 ? limits.relay : vote ? limits.vote : limits.agreed);
}

/** A phase of a run, as text that ascends with time: step, attempt, rank. */
export const phaseKey = ({ step, attempt, phase }) => [step, attempt, rank(phase)].map((n) => String(n).padStart(20, '0')).join('/');
