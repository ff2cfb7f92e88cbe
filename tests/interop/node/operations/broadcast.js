import * as broadcast from '../broadcast.js';
import { sorted } from '../bytes.js';
import { decode } from '../encoding.js';
import { ProtocolError } from '../errors.js';
import { Identity } from '../identity.js';
import { limitsFor } from '../limits.js';
import { Envelope, echoSlot, sameSlot } from '../messages.js';
import { bytes, bytesForm, real, realForm, slot, slotForm } from './forms.js';

const { Kind } = broadcast;
const envelope = (form) => Envelope.fromItem(decode(bytes(form), Infinity));
const envelopeForm = (one) => bytesForm(one.encode());
const anyLength = (peers, limit = Infinity) => ({ items: limitsFor(peers, 0).items, kinds: [limit, limit, limit, limit, limit] });
const signatures = (form) => new Map(form.map(([peer, signature]) => [peer, bytes(signature)]));

function frameForm(frame) {
  const { kind } = frame;
  switch (kind) {
    case Kind.ENVELOPE:
      return { kind, envelope: envelopeForm(frame.envelope) };
    case Kind.RELAY:
      return { kind, echo: envelopeForm(frame.echo), signatures: [...frame.signatures].map(([peer, one]) => [peer, bytesForm(one)]) };
    case Kind.OFFER:
      return { kind, slot: slotForm(frame.slot) };
    case Kind.ASK:
      return { kind, slot: slotForm(frame.slot), held: frame.held };
    default:
      return { kind, slot: slotForm(frame.slot), signatures: frame.signatures.map(bytesForm), envelopes: frame.envelopes.map(envelopeForm) };
  }
}

function frameOf(form) {
  const { kind } = form;
  switch (kind) {
    case Kind.ENVELOPE:
      return { kind, envelope: envelope(form.envelope) };
    case Kind.RELAY:
      return { kind, echo: envelope(form.echo), signatures: signatures(form.signatures) };
    case Kind.OFFER:
      return { kind, slot: slot(form.slot) };
    case Kind.ASK:
      return { kind, slot: slot(form.slot), held: form.held };
    default:
      return { kind, slot: slot(form.slot), signatures: form.signatures.map(bytes), envelopes: form.envelopes.map(envelope) };
  }
}

/** R, E, F, the last moments for relays, and D. */
function deadlines({ tolerated, ...input }) {
  const timing = new broadcast.Timing(real(input.delay), real(input.gradient));
  const exchanged = input.exchanges.reduce((time, work) => time + work * timing.gradient + timing.round, real(input.start));
  const ready = exchanged + input.work * timing.gradient;
  const echo = ready + timing.round;
  const fallback = echo + timing.round;
  const rounds = Array.from({ length: tolerated + 1 }, (_, k) => realForm(fallback + k * timing.round));
  const deliver = fallback + (tolerated + 1) * timing.round + 2 * timing.delay;
  return { ready: realForm(ready), echo: realForm(echo), fallback: realForm(fallback), rounds, deliver: realForm(deliver) };
}

/** What a frame is, in the form of `broadcast.phase`. */
function said(frame, at) {
  switch (frame.kind) {
    case Kind.ENVELOPE:
      return sameSlot(frame.envelope.slot, echoSlot(at)) ? ['echo', frame.envelope.message.vector] : ['message'];
    case Kind.RELAY:
      return ['relay', frame.echo.digest, [...frame.signatures.keys()]];
    case Kind.OFFER:
      return ['offer'];
    case Kind.ASK:
      return ['ask', frame.held];
    default:
      return ['answer', frame.signatures.length, frame.envelopes.map((one) => one.digest)];
  }
}

/** One peer in one agreed phase. */
function phase(input) {
  const identity = new Identity(bytes(input.seed));
  const at = slot(input.slot);
  const place = { run: input.run, slot: at, roster: input.roster, tolerated: input.tolerated, head: input.head, identity };
  const ballot = new broadcast.Ballot(place);
  const task = ballot.run(envelope(input.message), new broadcast.Timing(real(input.delay), 0), real(input.ready));
  const sent = [];
  let now = 0;
  const send = ({ send: frame, to }, time) => sent.push([realForm(time), to, said(frame, at)]);
  const resume = (arrival) => {
    let step = task.next(arrival);
    for (; !step.done && step.value.send; step = task.next()) send(step.value, now);
    return step;
  };
  let step = resume();
  for (const [time, sender, data] of input.arrivals) {
    const comes = Math.max(0, real(time));
    for (; !step.done && step.value.until < comes; step = resume(null)) now = Math.max(now, step.value.until);
    const frame = readFrame(bytes(data), input.roster.length);
    if (frame === null) continue;
    if (!step.done) now = comes;
    if (step.done) ballot.take({ frame, sender, now: comes }).forEach((reply) => send(reply, comes));
    else step = resume({ frame, sender, now });
  }
  for (; !step.done; step = resume(null)) now = Math.max(now, step.value.until);
  return { sent, at: realForm(now), ...deliveryForm(step.value) };
}

function readFrame(data, peers) {
  try {
    return broadcast.decodeFrame(data, anyLength(peers));
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

function deliveryForm({ vector, notices }) {
  return {
    delivered: vector.map((one) => one && one.digest),
    complaints: notices.complaints,
    evidence: sorted(notices.evidence, (a, b) => (a[0].sender < b[0].sender ? -1 : 1)).map((proof) => proof.map((header) => header.digest)),
    echoes: sorted(notices.echoes.map((echo) => echo.digest)),
  };
}

export default {
  'broadcast.read_frame': ({ data, limit, peers }) => frameForm(broadcast.decodeFrame(bytes(data), anyLength(peers, limit))),
  'broadcast.write_frame': (form) => bytesForm(broadcast.encodeFrame(frameOf(form))),
  'broadcast.relay_digest': ({ echo }) => broadcast.relayDigest(envelope(echo)),
  'broadcast.vouched': (input) => broadcast.vouched(envelope(input.echo), signatures(input.signatures), input.roster),
  'broadcast.majority': ({ votes, peers }) => broadcast.majority(votes, peers),
  'broadcast.deadlines': deadlines,
  'broadcast.phase': phase,
};

