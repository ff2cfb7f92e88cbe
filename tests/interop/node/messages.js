// Chapter `messages` and messages.cddl: the envelope, the bodies, what is signed, and what is read strictly.

import { ascending, compareTuples, hex, sorted, unhex } from './bytes.js';
import { decode, encode, hash, shape, treeHash } from './encoding.js';
import { ProtocolError } from './errors.js';
import { verify } from './identity.js';

const VERSION = 1;
export const Phase = Object.freeze({
  COMMIT: 0, SCATTER: 1, AGGREGATE: 2, GATHER: 3, REVEAL: 4, REPORT: 5, CLOSING: 6, PETITION: 7, PROBATION: 8,
  AUDIT: 9, COMMIT_TRIAL: 10, COMMIT_VOTE: 11, REPORT_TRIAL: 12, REPORT_VOTE: 13, BALLOT: 14, TALLY: 15,
});
const RANKS = [9, 0, 10, 11, 1, 14, 2, 3, 15, 4, 5, 12, 13, 6, 7, 8];
export const AGREED = [0, 2, 4, 5, 6, 11, 13];
export const rank = (phase) => RANKS.indexOf(phase);

const ECHO = 1; // the part of an echo's slot
const MAX_NOTICES = 1024;
export const MAX_ECHOES = 8;
export const MAX_LETTERS = 64;
const MAX_STATEMENTS = 4096;
const MAX_CHUNKS = 1025;
const ENVELOPE_OVERHEAD = 512;
export const MAX_AGREED_BODY = 4096 + 1024 * 1024;
const BODY_SHAPE = shape(45149, 4);
const ECHO_SHAPE = shape(1 + 1024, 1);
const ENVELOPE_SHAPE = shape(11, 1);

export class MessageError extends ProtocolError {}

// -- Reading items -------------------------------------------------------------------------------------

function require(holds, what) {
  if (!holds) throw new MessageError(what);
}

/** An array of exactly `count` entries. */
export function fields(item, count) {
  require(Array.isArray(item) && item.length === count, `an array of ${count}`);
  return item;
}

/** An array of at most `most` entries, each read by `read`. */
export function listOf(item, read, most = MAX_NOTICES) {
  require(Array.isArray(item) && item.length <= most, 'a list that is not too long');
  return item.map((entry) => read(entry));
}

export function uint(item) {
  require(typeof item === 'number' || typeof item === 'bigint', 'an unsigned integer');
  return item;
}

export function octets(item, length = undefined) {
  require(item instanceof Uint8Array && (length === undefined || item.length === length), 'a byte string of its length');
  return item;
}

export const hash32 = (item) => hex(octets(item, 32));
const maybeHash = (item) => (item === null ? null : hash32(item));

function member(item, codes) {
  require(codes.includes(item), 'a known code');
  return item;
}

function flag(item) {
  require(typeof item === 'boolean', 'true or false');
  return item;
}

// -- Slots -----------------------------------------------------------------------------------------------

export const makeSlot = (step, attempt, phase, part = 0) => Object.freeze({ step, attempt, phase, part });
export const sameSlot = (one, other) =>
  one.step === other.step && one.attempt === other.attempt && one.phase === other.phase && one.part === other.part;
export const echoSlot = (slot) => makeSlot(slot.step, slot.attempt, slot.phase, ECHO);
export const slotText = (slot) => `${slot.step}/${slot.attempt}/${slot.phase}/${slot.part}`;

// -- What is signed ----------------------------------------------------------------------------------------

/** MSG-1. */
export const bodyHash = (body) => hash('btard/body', body);

/** What stands for a body in a message of `phase` (MSG-6). */
export const contentHash = (phase, body) => (phase === Phase.BALLOT || phase === Phase.TALLY ? treeHash(body) : bodyHash(body));

const headerItem = (of) =>
  [VERSION, unhex(of.run), of.slot.step, of.slot.attempt, of.slot.phase, of.slot.part, unhex(of.sender), unhex(of.logHead)];

/** What a sender signs (MSG-1); `of`: run, slot, sender and logHead. */
export function messageDigest(of, hashedBody) {
  return hash('btard/message', hashedBody, encode(headerItem(of)));
}

function readHeader(item) {
  require(item[0] === VERSION, 'protocol version 1');
  const slot = makeSlot(uint(item[2]), uint(item[3]), member(item[4], Object.values(Phase)), uint(item[5]));
  return { run: hash32(item[1]), slot, sender: hash32(item[6]), logHead: hash32(item[7]) };
}

/** An envelope whose body is replaced by its hash: evidence of constant size. */
class SignedHeader {
  constructor({ run, slot, sender, logHead }, hashedBody, signature) {
    Object.assign(this, { run, slot, sender, logHead, bodyHash: hashedBody, signature });
  }

  get digest() {
    return (this._digest ??= messageDigest(this, this.bodyHash));
  }

  /** MSG-2. */
  get authentic() {
    return (this._authentic ??= verify(this.sender, this.digest, this.signature));
  }

  toItem() {
    return [...headerItem(this), unhex(this.bodyHash), this.signature];
  }

  static fromItem(item) {
    fields(item, 10);
    return new SignedHeader(readHeader(item), hash32(item[8]), octets(item[9], 64));
  }
}

export class Envelope {
  constructor({ run, slot, sender, logHead }, body, signature) {
    Object.assign(this, { run, slot, sender, logHead, body, signature });
  }

  get header() {
    return (this._header ??= new SignedHeader(this, contentHash(this.slot.phase, this.body), this.signature));
  }

  get digest() {
    return this.header.digest;
  }

  get authentic() {
    return this.header.authentic;
  }

  /** The body of an agreed message or echo; null if it is malformed. */
  get message() {
    if (this._message === undefined) this._message = readOrNull(() => decodeBody(this.slot, this.body));
    return this._message;
  }

  toItem() {
    return [...headerItem(this), this.body, this.signature];
  }

  encode() {
    return encode(this.toItem());
  }

  static fromItem(item) {
    fields(item, 10);
    return new Envelope(readHeader(item), octets(item[8]), octets(item[9], 64));
  }

  /** MSG-3: `limit` is that of the body. */
  static decode(data, limit) {
    return Envelope.fromItem(decode(data, limit + ENVELOPE_OVERHEAD, ENVELOPE_SHAPE));
  }
}

function readOrNull(read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

/** Signs `body` for `slot`. */
export function seal(identity, run, slot, logHead, body) {
  const header = { run, slot, sender: identity.id, logHead };
  return new Envelope(header, body, identity.sign(messageDigest(header, contentHash(slot.phase, body))));
}

/** Whether a channel may deliver `envelope` as `sender`'s message for `slot` (MSG-4). */
export function belongs(envelope, run, slot, sender, announced = undefined) {
  if (envelope.run !== run || !sameSlot(envelope.slot, slot) || envelope.sender !== sender) return false;
  return envelope.header.bodyHash === announced || envelope.authentic;
}

// -- Bodies --------------------------------------------------------------------------------------------------

export const NO_NOTICES = Object.freeze({ complaints: [], evidence: [], echoes: [] });

const noticeItems = ({ complaints, evidence, echoes }) =>
  [complaints.map(unhex), evidence.map((proof) => proof.map((header) => header.toItem())), echoes.map((echo) => echo.toItem())];

function readNotices([complaints, evidence, echoes]) {
  return {
    complaints: strictly(listOf(complaints, hash32)),
    evidence: listOf(evidence, readProof),
    echoes: listOf(echoes, Envelope.fromItem, MAX_ECHOES),
  };
}

function readProof(item) {
  const proof = listOf(item, SignedHeader.fromItem, 2);
  require(proof.length >= 1, 'one or two headers');
  strictly(proof, (header) => [header.digest]);
  return proof;
}

/** MSG-5: the entries in strictly ascending order of their keys. */
function strictly(list, key = (entry) => [entry]) {
  require(ascending(list.map(key), (low, high) => compareTuples(low, high) < 0), 'strictly ascending entries');
  return list;
}

const accusationKey = ({ accused, step }) => [accused, step];
const readAccusations = (item) => strictly(listOf(item, (entry) => {
  const [accused, step] = fields(entry, 2);
  return { accused: hash32(accused), step: uint(step) };
}), accusationKey);
const accusationItems = (accusations) => accusations.map(({ accused, step }) => [unhex(accused), step]);

export const letterKey = ({ sender, slot }) => [sender, slot.step, slot.attempt, slot.phase, slot.part];

function readLetter(item) {
  const letter = Envelope.fromItem(item);
  require(letter.body.length <= 32, 'a letter of at most 32 bytes');
  return letter;
}

function reals(item) {
  require(octets(item).length % 8 === 0, 'whole numbers of 8 bytes');
  return item;
}

function readStatement(item) {
  const [step, peer, fault, correction] = fields(item, 4);
  return { step: uint(step), peer: hash32(peer), fault: uint(fault), correction: octets(correction) };
}

/** Body by kind: from message to item, and back. `phase` is that of the slot. */
const BODIES = {
  commit: {
    item: (m) => [m.partHashes.map(unhex), unhex(m.commitment), unhex(m.stateHash), accusationItems(m.accusations),
      m.letters.map((letter) => letter.toItem()), m.leaving, ...noticeItems(m.notices)],
    read: (item) => {
      const [hashes, commitment, stateHash, accusations, letters, leaving, ...notices] = fields(item, 9);
      return {
        partHashes: listOf(hashes, hash32), commitment: hash32(commitment), stateHash: hash32(stateHash),
        accusations: readAccusations(accusations), letters: strictly(listOf(letters, readLetter, MAX_LETTERS), letterKey),
        leaving: flag(leaving), notices: readNotices(notices),
      };
    },
  },
  aggregate: {
    item: (m) => [m.aggregateHash && unhex(m.aggregateHash), ...noticeItems(m.notices)],
    read: (item) => {
      const [aggregateHash, ...notices] = fields(item, 4);
      return { aggregateHash: maybeHash(aggregateHash), notices: readNotices(notices) };
    },
  },
  reveal: {
    item: (m) => [m.opening, accusationItems(m.accusations), ...noticeItems(m.notices)],
    read: (item) => {
      const [opening, accusations, ...notices] = fields(item, 5);
      return { opening: octets(opening, 64), accusations: readAccusations(accusations), notices: readNotices(notices) };
    },
  },
  report: {
    item: (m) => [m.products, m.norms, m.chunks, ...noticeItems(m.notices)],
    read: (item) => {
      const [products, norms, chunks, ...notices] = fields(item, 6);
      require(octets(products).length === octets(norms).length, 'as many norms as inner products');
      return { products: reals(products), norms: reals(norms), chunks: listOf(chunks, octets, MAX_CHUNKS), notices: readNotices(notices) };
    },
  },
  vote: {
    item: (m) => [m.statements.map((s) => [s.step, unhex(s.peer), s.fault, s.correction]), ...noticeItems(m.notices)],
    read: (item) => {
      const [statements, ...notices] = fields(item, 4);
      const read = strictly(listOf(statements, readStatement, MAX_STATEMENTS), (s) => [s.step, s.peer, s.fault]);
      return { statements: read, notices: readNotices(notices) };
    },
  },
  closing: { item: () => [], read: (item) => (fields(item, 0), { notices: NO_NOTICES }) },
  echo: {
    item: (m) => m.vector.map((digest) => digest && unhex(digest)),
    read: (item) => ({ vector: listOf(item, maybeHash) }),
  },
};

const KINDS = {
  [Phase.COMMIT]: 'commit', [Phase.AGGREGATE]: 'aggregate', [Phase.REVEAL]: 'reveal', [Phase.REPORT]: 'report',
  [Phase.CLOSING]: 'closing', [Phase.COMMIT_VOTE]: 'vote', [Phase.REPORT_VOTE]: 'vote',
};

/** Which body a slot has; undefined where it is no message. */
function kindOf(slot) {
  if (!(slot.phase in KINDS)) return undefined;
  return slot.part === 0 ? KINDS[slot.phase] : slot.part === ECHO ? 'echo' : undefined;
}

export const encodeBody = (message) => encode(BODIES[message.kind].item(message));

/** The body of an agreed message or echo (MSG-5). Throws DecodeError or MessageError. */
export function decodeBody(slot, body) {
  const kind = kindOf(slot);
  require(kind !== undefined, 'the body of a part is no message');
  const item = decode(body, MAX_AGREED_BODY, kind === 'echo' ? ECHO_SHAPE : BODY_SHAPE);
  return { kind, ...BODIES[kind].read(item) };
}

// -- Notices ---------------------------------------------------------------------------------------------------

/** The notices of both, as a message lists them (BCAST-8): in ascending order, one proof against each peer, eight echoes at most. */
export function mergeNotices(one, other) {
  const order = (a, b) => compareTuples(proofKey(a), proofKey(b));
  const proofs = sorted([...one.evidence, ...other.evidence], order);
  const echoes = new Map([...one.echoes, ...other.echoes].map((echo) => [echo.digest, echo]));
  return {
    complaints: sorted(new Set([...one.complaints, ...other.complaints])).slice(0, MAX_NOTICES),
    evidence: proofs.filter((proof, k) => proof[0].sender !== proofs[k - 1]?.[0].sender).slice(0, MAX_NOTICES),
    echoes: sorted(echoes.values(), (a, b) => compareTuples([a.sender, a.digest], [b.sender, b.digest])).slice(0, MAX_ECHOES),
  };
}

/** Against a peer two headers come before one, then the lowest digests. */
const proofKey = (proof) => [proof[0].sender, -proof.length, ...proof.map((header) => header.digest)];

/** Two headers of one slot as evidence. */
export const proofOf = (headers) => sorted(headers, (a, b) => (a.digest < b.digest ? -1 : 1));
