// Chapter `limits`: the greatest size and number of what a node takes from its links.

import { Kind, slotOf } from './broadcast.js';
import { AGREED, MAX_AGREED_BODY, Phase, rank } from './messages.js';

const MESSAGE_BASE = 24576;
const MESSAGE_PER_PEER = 1024;
const OVERHEAD = 512;
const MAX_CORRECTIONS = 2 ** 18;
const DIGEST_BYTES = 34;
const VOUCHER_BYTES = 102;
const EARLY_GRADIENTS = 2;
const SPARE_FRAMES = 64;
const BYTE_PHASES = 4;
export const FRAME_COST = 1024;
export const ANSWERS = 4;
export const REMEMBERED_PHASES = 12;
export const ARCHIVED_PHASES = 3;

/** The limits of a run of n peers and d parameters, in bytes but for `frames` and `items`. */
export function limitsFor(n, d) {
  const agreed = Math.min(MESSAGE_BASE + MESSAGE_PER_PEER * n, MAX_AGREED_BODY) + OVERHEAD;
  const vote = Math.min(agreed + MAX_CORRECTIONS, MAX_AGREED_BODY + OVERHEAD);
  const part = 4 * d + OVERHEAD;
  const relay = OVERHEAD + (DIGEST_BYTES + VOUCHER_BYTES) * n;
  const ask = OVERHEAD + 3 * DIGEST_BYTES * n;
  const answer = OVERHEAD + VOUCHER_BYTES * n + 2 * n * vote;
  const frames = 4 * n + SPARE_FRAMES;
  return {
    peers: n, agreed, vote, part, frames,
    bytes: BYTE_PHASES * (EARLY_GRADIENTS * part + vote + frames * relay + ANSWERS * ask) + 4 * answer,
    items: Math.max(8 + 23 * n, 14 + 3 * n),
    early: EARLY_GRADIENTS * part + agreed + vote + (n + 8) * (OVERHEAD + FRAME_COST),
    kinds: [Math.max(vote, part), relay, OVERHEAD, ask, answer],
  };
}

const VOTES = [Phase.COMMIT_VOTE, Phase.REPORT_VOTE];
const LETTERS = [Phase.PETITION, Phase.PROBATION];

/** Whether a frame has a place in its phase: its kind, its part, the length of its chain, its size (LIM-1). */
export function fits(frame, size, limits) {
  const { phase, part } = slotOf(frame);
  const agreed = AGREED.includes(phase);
  if (frame.kind === Kind.RELAY) return agreed && part === 1 && 2 * frame.signatures.size < limits.peers;
  if (frame.kind !== Kind.ENVELOPE) return agreed;
  if (!agreed) return !LETTERS.includes(phase) && part < limits.peers && size <= limits.part;
  return part <= 1 && size <= (VOTES.includes(phase) ? limits.vote : limits.agreed);
}

/** A phase of a run, as text that ascends with time: step, attempt, rank. */
export const phaseKey = ({ step, attempt, phase }) => [step, attempt, rank(phase)].map((n) => String(n).padStart(20, '0')).join('/');
