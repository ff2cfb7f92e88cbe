// Chapter `broadcast`: one agreed phase among strangers. A generator yields { send, to } and { until, done } (wait for frames
// until a time, or until `done` holds) and is resumed with an arrival { frame, sender, now }, or null when the time has come.

import { equal, sorted, unhex } from './bytes.js';
import { decode, encode, hash, shape } from './encoding.js';
import { ToleranceExceeded } from './errors.js';
import { verify } from './identity.js';
import {
  echoSlot, encodeBody, Envelope, fields, hash32, listOf, makeSlot, mergeNotices, MessageError, NO_NOTICES, octets, Phase, proofOf, sameSlot,
  seal, uint,
} from './messages.js';

const VERSIONS = 2;
const MAX_HELD = 1024;
const SKEW_DELAYS = 3;
export const Kind = Object.freeze({ ENVELOPE: 0, RELAY: 1, OFFER: 2, ASK: 3, ANSWER: 4 });

/** The two bounds that all deadlines derive from. */
export class Timing {
  constructor(delay, gradient) {
    Object.assign(this, { delay, gradient, round: SKEW_DELAYS * delay + delay });
  }
}

// -- Frames ----------------------------------------------------------------------------------------------------
// { kind, envelope } | { kind, echo, signatures: Map } | { kind, slot } | { kind, slot, held } | { kind, slot, signatures, envelopes }

const placeItem = (slot) => [slot.step, slot.attempt, slot.phase];

const FRAMES = [
  { item: (f) => [f.envelope.toItem()], read: ([envelope]) => ({ envelope: Envelope.fromItem(envelope) }), size: 2 },
  {
    item: (f) => [f.echo.toItem(), [...f.signatures].map(([peer, signature]) => [unhex(peer), signature])],
    read: ([echo, vouchers]) => ({ echo: Envelope.fromItem(echo), signatures: readVouchers(vouchers) }),
    size: 3,
  },
  { item: (f) => [placeItem(f.slot)], read: ([at]) => ({ slot: readPlace(at) }), size: 2 },
  {
    item: (f) => [placeItem(f.slot), f.held.map(unhex)],
    read: ([at, held]) => ({ slot: readPlace(at), held: listOf(held, hash32) }),
    size: 3,
  },
  {
    item: (f) => [placeItem(f.slot), f.signatures, f.envelopes.map((envelope) => envelope.toItem())],
    read: ([at, signatures, envelopes]) => ({
      slot: readPlace(at), signatures: listOf(signatures, (one) => octets(one, 64)), envelopes: listOf(envelopes, Envelope.fromItem),
    }),
    size: 4,
  },
];

function readPlace(item) {
  const [step, attempt, phase] = fields(item, 3);
  if (!Object.values(Phase).includes(phase)) throw new MessageError('an unknown phase');
  return makeSlot(uint(step), uint(attempt), phase);
}

function readVouchers(item) {
  const pairs = listOf(item, (entry) => {
    const [peer, signature] = fields(entry, 2);
    return [hash32(peer), octets(signature, 64)];
  });
  if (pairs.some(([peer], k) => k > 0 && pairs[k - 1][0] >= peer)) throw new MessageError('vouchers do not ascend');
  return new Map(pairs);
}

export const encodeFrame = (frame) => encode([frame.kind, ...FRAMES[frame.kind].item(frame)]);

/** BCAST-1, LIM-2, LIM-10. Throws DecodeError or MessageError. */
export function decodeFrame(data, limits) {
  const kind = data[1];
  if (!(kind in FRAMES)) throw new MessageError('an unknown kind');
  const item = decode(data, limits.kinds[kind], shape(limits.items, 3));
  fields(item, FRAMES[kind].size);
  if (item[0] !== kind) throw new MessageError('another kind');
  return { kind, ...FRAMES[kind].read(item.slice(1)) };
}

/** The slot of what a frame is about. */
export const slotOf = (frame) => (frame.envelope ?? frame.echo ?? frame).slot;

/** What a peer signs to vouch for an echo (BCAST-7). */
export const relayDigest = (echo) => hash('btard/relay', echo.digest);

/** Whether all signers are other peers of the roster, and their signatures are good. */
export function vouched(echo, signatures, roster) {
  const digest = relayDigest(echo);
  return [...signatures].every(([peer, signature]) => roster.includes(peer) && peer !== echo.sender && verify(peer, digest, signature));
}

// -- One phase ------------------------------------------------------------------------------------------------------

/** Keeps the first two signed versions (BCAST-9); whether this one is kept. */
function keepVersion(kept, envelope, most = VERSIONS) {
  const versions = kept.get(envelope.sender) ?? new Map();
  if (!versions.has(envelope.digest) && versions.size < most && envelope.authentic) versions.set(envelope.digest, envelope);
  if (versions.size) kept.set(envelope.sender, versions);
  return versions.has(envelope.digest);
}

/** What a peer knows of one agreed phase. `place`: { run, slot, roster, tolerated, head, identity }. */
export class Ballot {
  messages = new Map(); // by sender: version by digest
  echoes = new Map(); // the accepted ones
  mine = null; // my echo
  certificate = new Map(); // signatures under my echo, by peer
  fallback = null; // when it began, and the length of its rounds
  decided = null;
  asked = new Set();
  complaints = new Set();

  constructor(place) {
    this.place = place;
  }

  /** Broadcasts and delivers (BCAST-2 to BCAST-8). `ready`: R. */
  * run(envelope, timing, ready) {
    const { slot, tolerated } = this.place;
    this.hear(envelope);
    yield { send: { kind: Kind.ENVELOPE, envelope }, to: null };
    const echoTime = ready + timing.round;
    yield* this.listen(echoTime, () => this.complete());
    this.missMessages();

    yield { send: { kind: Kind.ENVELOPE, envelope: this.echo() }, to: null };
    const fallbackTime = echoTime + timing.round;
    yield* this.listen(fallbackTime, () => this.certified());
    if (!this.certified()) yield* this.fallBack(fallbackTime, tolerated, timing);
    if (this.certified()) yield { send: { kind: Kind.OFFER, slot }, to: null }; // BCAST-5
    return this.delivery();
  }

  * fallBack(fallbackTime, tolerated, timing) {
    this.missEchoes();
    const decideTime = fallbackTime + tolerated * timing.round;
    this.fallback = { began: fallbackTime, length: timing.round };
    for (const versions of tolerated > 0 ? this.echoes.values() : []) {
      for (const echo of versions.values()) yield { send: this.vouch(echo, new Map()), to: null };
    }
    yield* this.listen(decideTime, () => this.certified());
    if (this.certified()) return;
    this.decide();
    if (this.lacking().length) yield { send: { kind: Kind.ASK, slot: this.place.slot, held: this.held() }, to: null };
    yield* this.listen(decideTime + timing.round + 2 * timing.delay, () => this.certified());
  }

  /** Takes frames in until a time, or until `done` holds. */
  * listen(until, done) {
    while (!done()) {
      const arrival = yield { until };
      if (arrival === null) return;
      for (const reply of this.take(arrival)) yield reply;
    }
  }

  /** Takes one frame in; returns what to send in reply. */
  take({ frame, sender, now }) {
    switch (frame.kind) {
      case Kind.ENVELOPE:
        this.hear(frame.envelope, now);
        return [];
      case Kind.RELAY:
        return this.accept(frame, now);
      case Kind.OFFER:
        if (!this.mine || this.certified() || this.asked.has(sender)) return [];
        this.asked.add(sender);
        return [{ send: { kind: Kind.ASK, slot: this.place.slot, held: [] }, to: sender }]; // BCAST-5
      case Kind.ASK:
        return [{ send: this.answer(frame), to: sender }];
      default:
        this.learn(frame);
        return [];
    }
  }

  // -- Messages

  hear(envelope, now = -Infinity) {
    const { run, slot, roster } = this.place;
    if (envelope.run !== run || !roster.includes(envelope.sender)) return;
    if (sameSlot(envelope.slot, slot)) keepVersion(this.messages, envelope, this.wants(envelope) ? VERSIONS + 1 : VERSIONS);
    else if (this.isEcho(envelope) && this.inTime(1, now)) this.keepEcho(envelope);
  }

  /** Whether this is a decided message that I lack. */
  wants(envelope) {
    return this.decided?.get(envelope.sender) === envelope.digest;
  }

  complete() {
    return this.place.roster.every((peer) => this.messages.has(peer));
  }

  missMessages() {
    this.place.roster.filter((peer) => !this.messages.has(peer)).forEach((peer) => this.complaints.add(peer));
  }

  // -- Echoes

  /** Whether this is an echo of the form of this phase: slot, log head, one entry per peer. */
  isEcho(envelope) {
    const { slot, roster, head } = this.place;
    if (!sameSlot(envelope.slot, echoSlot(slot)) || envelope.logHead !== head) return false;
    return envelope.message?.kind === 'echo' && envelope.message.vector.length === roster.length;
  }

  /** My echo: the first version that came of each message (BCAST-2). */
  echo() {
    const { roster, identity, run, slot, head } = this.place;
    const vector = roster.map((peer) => this.messages.get(peer)?.keys().next().value ?? null);
    this.mine = seal(identity, run, echoSlot(slot), head, encodeBody({ kind: 'echo', vector }));
    this.keepEcho(this.mine);
    for (const versions of this.echoes.values()) versions.forEach((echo) => this.count(echo));
    return this.mine;
  }

  keepEcho(echo) {
    const kept = keepVersion(this.echoes, echo);
    if (kept) this.count(echo);
    return kept;
  }

  /** Notes a signature under my echo (BCAST-4). */
  count(echo) {
    if (this.mine && equal(echo.body, this.mine.body) && echo.logHead === this.mine.logHead) this.certificate.set(echo.sender, echo.signature);
  }

  certified() {
    return this.mine !== null && this.certificate.size === this.place.roster.length;
  }

  missEchoes() {
    this.place.roster.filter((peer) => !this.echoes.has(peer)).forEach((peer) => this.complaints.add(peer));
  }

  // -- Fallback

  /** BCAST-7. */
  accept({ echo, signatures }, now) {
    const { roster, run, tolerated } = this.place;
    if (!roster.includes(echo.sender) || echo.run !== run || !this.isEcho(echo)) return [];
    const known = this.echoes.get(echo.sender)?.has(echo.digest);
    if (known || !this.inTime(1 + signatures.size, now) || !vouched(echo, signatures, roster)) return [];
    if (!this.keepEcho(echo) || this.fallback === null || signatures.size >= tolerated) return [];
    return [{ send: this.vouch(echo, signatures), to: null }];
  }

  inTime(signatures, now) {
    return this.fallback === null || now <= this.fallback.began + (signatures - 1) * this.fallback.length;
  }

  vouch(echo, signatures) {
    const { identity } = this.place;
    const all = new Map(signatures);
    if (echo.sender !== identity.id) all.set(identity.id, identity.sign(relayDigest(echo)));
    return { kind: Kind.RELAY, echo, signatures: new Map(sorted(all, ([a], [b]) => (a < b ? -1 : 1))) };
  }

  /** BCAST-6. */
  decide() {
    const { roster } = this.place;
    const vectors = [...this.echoes.values()].filter((versions) => versions.size === 1).map((versions) => [...versions.values()][0].message.vector);
    this.decided = new Map(roster.map((peer, k) => [peer, majority(vectors.map((vector) => vector[k]), roster.length)]));
  }

  /** Peers whose decided message I lack. */
  lacking() {
    return [...this.decided].filter(([peer, digest]) => digest !== null && !this.messages.get(peer)?.has(digest));
  }

  held() {
    return sorted([...this.messages.values()].flatMap((versions) => [...versions.keys()])).slice(0, MAX_HELD);
  }

  // -- Certificates and requests

  /** The digests that I deliver, or before that, those that I echoed. */
  delivered() {
    if (this.certified()) return this.mine.message.vector;
    if (this.decided) return [...this.decided.values()];
    return this.mine?.message.vector ?? [];
  }

  answer(asked) {
    const { roster, slot } = this.place;
    const signatures = this.certified() ? roster.map((peer) => this.certificate.get(peer)) : [];
    const named = asked.held.length ? this.delivered() : [];
    const envelopes = named.map((digest, k) => (asked.held.includes(digest) ? undefined : this.messages.get(roster[k])?.get(digest)));
    return { kind: Kind.ANSWER, slot, signatures, envelopes: envelopes.filter(Boolean) };
  }

  learn({ signatures, envelopes }) {
    envelopes.forEach((envelope) => this.hear(envelope));
    const { roster } = this.place;
    if (!this.mine || this.certified() || signatures.length !== roster.length) return;
    if (roster.every((peer, k) => this.signedMine(peer, signatures[k]))) {
      this.certificate = new Map(roster.map((peer, k) => [peer, signatures[k]]));
    }
  }

  signedMine(peer, signature) {
    return new Envelope({ ...this.mine, sender: peer }, this.mine.body, signature).authentic;
  }

  // -- Delivery

  delivery() {
    const { roster } = this.place;
    const digests = this.delivered();
    const vector = digests.map((digest, k) => (digest === null ? null : this.messages.get(roster[k])?.get(digest)));
    if (vector.includes(undefined)) throw new ToleranceExceeded('a decided message did not come: more than b peers are faulty');
    return { vector, notices: this.notices(digests) };
  }

  /** BCAST-8. */
  notices(digests) {
    const echoes = [...this.echoes.values()].flatMap((versions) => [...versions.values()]);
    const held = [...this.messages.values(), ...this.echoes.values()].filter((versions) => versions.size >= VERSIONS);
    const mine = (echo) => echo.sender === this.place.identity.id;
    const differs = (echo) => !mine(echo) && echo.message.vector.some((digest, k) => digests[k] !== null && digest !== digests[k]);
    return mergeNotices(NO_NOTICES, {
      complaints: [...this.complaints],
      evidence: held.map((versions) => proofOf([...versions.values()].slice(0, 2).map((envelope) => envelope.header))),
      echoes: echoes.filter(differs),
    });
  }

  /** The signed headers that I hold, so that a second version can be recognised later. */
  witnessed() {
    return [...this.messages.values(), ...this.echoes.values()].flatMap((versions) => [...versions.values()].map((one) => one.header));
  }
}

/** The digest that more than half of all peers attest, or null. */
export function majority(column, peers) {
  const votes = new Map();
  for (const digest of column) votes.set(digest, (votes.get(digest) ?? 0) + 1);
  return [...votes.keys()].find((digest) => 2 * votes.get(digest) > peers) ?? null;
}

