// Chapter `exchange`: Scatter and Gather under deadlines. A generator as in chapter `broadcast`.

import { Kind } from './broadcast.js';
import { belongs, slotText } from './messages.js';

/** What I am to receive: one part from each sender. `owed`: Map from sender to { slot, announced }. */
export class Inbox {
  received = new Map();

  constructor(run, owed) {
    Object.assign(this, { run, owed, missing: new Set(owed.keys()) });
  }

  /** Keeps a part that belongs here; the announced content wins over another that came before (EXCH-2). */
  take(envelope) {
    const { sender } = envelope;
    if (!this.missing.has(sender)) return;
    const { slot, announced } = this.owed.get(sender);
    if (!belongs(envelope, this.run, slot, sender, announced)) return;
    if (envelope.header.bodyHash === announced) this.missing.delete(sender);
    else if (this.received.has(sender)) return;
    this.received.set(sender, envelope);
  }

  settled() {
    return this.missing.size === 0;
  }
}

/** Disclosures: a sender may owe several, and nobody has announced the hash of the whole. `owed`: list of { sender, slot }. */
export class DisclosureInbox {
  received = new Map();

  constructor(run, owed) {
    Object.assign(this, { run, places: new Set(owed.map(({ sender, slot }) => `${sender}/${slotText(slot)}`)) });
  }

  /** Keeps the first signed body of each slot that is owed to me (EXCH-2). */
  take(envelope) {
    const place = `${envelope.sender}/${slotText(envelope.slot)}`;
    if (!this.places.has(place) || this.received.has(place)) return;
    if (belongs(envelope, this.run, envelope.slot, envelope.sender)) this.received.set(place, envelope);
  }

  settled() {
    return this.received.size === this.places.size;
  }
}

/** Sends my parts and takes what comes until I have everything, or no honest part can be on its way (EXCH-1). */
function* exchange(inbox, sends, until) {
  yield* sends;
  while (!inbox.settled()) {
    const arrival = yield { until };
    if (arrival === null) break;
    if (arrival.frame.kind === Kind.ENVELOPE) inbox.take(arrival.frame.envelope);
  }
  return inbox.received;
}

/** The exchange of a scatter or gather request, for peer `me`. Returns an envelope or null per worker. */
export function* exchanged(request, run, me, until) {
  const { workers, slot, announced } = request;
  const owed = new Map();
  announced.forEach((hashed, k) => {
    const part = request.kind === 'gather' ? k : slot.part;
    if (workers[k] !== me) owed.set(workers[k], { slot: { ...slot, part }, announced: hashed });
  });
  const received = yield* exchange(new Inbox(run, owed), sendsOf(request), until);
  return workers.map((worker) => received.get(worker) ?? null);
}

function sendsOf(request) {
  const frame = (envelope) => ({ kind: Kind.ENVELOPE, envelope });
  if (request.kind === 'gather') return request.envelope ? [{ send: frame(request.envelope), to: null }] : [];
  return request.envelopes.flatMap((envelope, k) => (envelope ? [{ send: frame(envelope), to: request.workers[k] }] : []));
}
