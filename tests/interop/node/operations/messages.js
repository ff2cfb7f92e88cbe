import { decode } from '../encoding.js';
import { ProtocolError } from '../errors.js';
import { Identity } from '../identity.js';
import * as messages from '../messages.js';
import { bytes, bytesForm, itemForm, slot, slotForm } from './forms.js';

const POINT_TO_POINT = [messages.Phase.SCATTER, messages.Phase.GATHER, messages.Phase.BALLOT, messages.Phase.TALLY];

function seal(input) {
  return bytesForm(messages.seal(new Identity(bytes(input.seed)), input.run, slot(input.slot), input.log_head, bytes(input.body)).encode());
}

function decodeEnvelope({ data, limit }) {
  const envelope = messages.Envelope.decode(bytes(data), limit);
  return {
    run: envelope.run, slot: slotForm(envelope.slot), sender: envelope.sender, log_head: envelope.logHead,
    body: bytesForm(envelope.body), signature: bytesForm(envelope.signature),
  };
}

function decodeBody(input) {
  messages.decodeBody(slot(input.slot), bytes(input.body));
  return itemForm(decode(bytes(input.body), messages.MAX_AGREED_BODY));
}

/** Whether a channel delivers what has come (MSG-3, MSG-4). */
function admit({ run, roster, sender, data, limit, announced, ...rest }) {
  const awaited = slot(rest.slot);
  try {
    const envelope = messages.Envelope.decode(bytes(data), limit);
    const hashed = POINT_TO_POINT.includes(awaited.phase) ? announced : undefined;
    const accepted = roster.includes(sender) && messages.belongs(envelope, run, awaited, sender, hashed);
    return { outcome: accepted ? 'accept' : 'ignore' };
  } catch (error) {
    if (error instanceof ProtocolError) return { outcome: 'ignore' };
    throw error;
  }
}

export default {
  'messages.content_hash': ({ phase, body }) => messages.contentHash(phase, bytes(body)),
  'messages.digest': (input) =>
    messages.messageDigest({ run: input.run, sender: input.sender, logHead: input.log_head, slot: slot(input.slot) },
      messages.contentHash(input.slot[2], bytes(input.body))),
  'messages.seal': seal,
  'messages.decode_envelope': decodeEnvelope,
  'messages.decode_body': decodeBody,
  'messages.admit': admit,
};

