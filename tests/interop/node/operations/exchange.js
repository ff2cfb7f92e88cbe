import { DisclosureInbox, Inbox } from '../exchange.js';
import { decode } from '../encoding.js';
import { Envelope, slotText } from '../messages.js';
import { bytes, slot } from './forms.js';

/** Which arrivals count, and after how many nothing is waited for. */
function taken(inbox, arrivals, received) {
  const envelopes = arrivals.map((data) => Envelope.fromItem(decode(bytes(data), Infinity)));
  let enough = inbox.settled() ? 0 : null;
  envelopes.forEach((envelope, k) => {
    inbox.take(envelope);
    if (enough === null && inbox.settled()) enough = k + 1;
  });
  const index = (envelope) => (envelope === undefined ? null : envelopes.indexOf(envelope));
  return { kept: received().map(index), enough };
}

function parts({ run, slots, senders, announced, arrivals }) {
  const inbox = new Inbox(run, new Map(senders.map((peer, k) => [peer, { slot: slot(slots[k]), announced: announced[k] }])));
  return taken(inbox, arrivals, () => senders.map((peer) => inbox.received.get(peer)));
}

function disclosures({ run, slots, senders, arrivals }) {
  const owed = senders.map((sender, k) => ({ sender, slot: slot(slots[k]) }));
  const inbox = new DisclosureInbox(run, owed);
  return taken(inbox, arrivals, () => owed.map((one) => inbox.received.get(`${one.sender}/${slotText(one.slot)}`)));
}

export default { 'exchange.parts': parts, 'exchange.disclosures': disclosures };
