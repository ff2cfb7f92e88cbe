// Chapter `log`: genesis, verdicts, records and the hash chain.

import { ascending, equal, raw, unhex } from './bytes.js';
import { float64Vector, vectorBytes } from './arithmetic.js';
import { decode, encode, hash } from './encoding.js';
import { admissible } from './identity.js';
import { AGREED, Envelope, fields, hash32, listOf, makeSlot, MAX_AGREED_BODY, MessageError, octets, uint } from './messages.js';
import { checkConfiguration, ConfigurationError, COUNT_FIELDS, REAL_FIELDS } from './model.js';
import { readOptimizer } from './update.js';

export const MAX_RECORD = 1025 * (MAX_AGREED_BODY + 1024);
const MAX_VERDICTS = 4096;
export const Subject = Object.freeze({ WORKER: 0, AGGREGATE: 1, CANDIDATE: 2 });

// -- Genesis ---------------------------------------------------------------------------------------------

/** CDDL genesis-content. */
function genesisContent({ config, roster, stateHash }) {
  const settings = new Map([
    ...COUNT_FIELDS.map((name) => [name, config[name]]),
    ...REAL_FIELDS.map((name) => [name, vectorBytes(Float64Array.of(config[name]))]),
    ['profile', config.profile], ['task', config.task], ['optimizer', config.optimizer],
  ]);
  return [settings, roster.map(unhex), unhex(stateHash)];
}

/** LOG-1. */
const runId = (genesis) => hash('btard/run', encode(genesisContent(genesis)));

export function makeGenesis(config, roster, stateHash) {
  const genesis = { config, roster, stateHash };
  return Object.freeze({ ...genesis, run: runId(genesis) });
}

export const encodeGenesis = (genesis) => encode([0, genesisContent(genesis), unhex(genesis.run)]);

/** LOG-2. Throws DecodeError, MessageError, ConfigurationError or UpdateError. */
export function decodeGenesis(data) {
  const [index, content, run] = fields(decode(data, MAX_RECORD), 3);
  if (index !== 0) throw new MessageError('a log begins with record 0');
  const [settings, roster, stateHash] = fields(content, 3);
  const genesis = makeGenesis(readConfiguration(settings), listOf(roster, hash32), hash32(stateHash));
  if (genesis.run !== hash32(run) || !equal(encodeGenesis(genesis), data)) throw new MessageError('not the run id of this content');
  checkGenesis(genesis);
  return genesis;
}

function checkGenesis({ config, roster }) {
  checkConfiguration(config);
  const open = config.profile === 'btard' && config.distance_ratio === 0;
  if (open || (config.tolerance !== 0 && config.margin === 0)) throw new ConfigurationError('a default left open');
  if (roster.length !== config.peers || !ascending(roster)) throw new ConfigurationError('not n ids in ascending order');
  if (!roster.every(admissible)) throw new ConfigurationError('an id that is no admissible key');
  readOptimizer(config.optimizer);
}

function readConfiguration(item) {
  const names = [...COUNT_FIELDS, ...REAL_FIELDS, 'profile', 'task', 'optimizer'];
  if (!(item instanceof Map) || item.size !== names.length || !names.every((name) => item.has(name))) {
    throw new MessageError('not exactly the specified fields');
  }
  const config = {};
  for (const name of COUNT_FIELDS) config[name] = uint(item.get(name));
  for (const name of REAL_FIELDS) config[name] = float64Vector(octets(item.get(name), 8))[0];
  config.profile = text(item.get('profile'));
  config.task = text(item.get('task'));
  config.optimizer = listOf(item.get('optimizer'), (pair) => fields(pair, 2).map(text));
  return Object.freeze(config);
}

function text(item) {
  if (typeof item !== 'string') throw new MessageError('a text');
  return item;
}

// -- Verdicts and records ------------------------------------------------------------------------------------

/** verdict: { trial: { step, accused, subject }, findings: [{ peer, fault, correction }] } */
export const verdictItem = ({ trial, findings }) => [[trial.step, unhex(trial.accused), trial.subject],
  findings.map(({ peer, fault, correction }) => [unhex(peer), fault, correction ?? new Uint8Array()])];

function readVerdict(item) {
  const [trial, findings] = fields(item, 2);
  const [step, accused, subject] = fields(trial, 3);
  if (![0, 1, 2].includes(subject)) throw new MessageError('an unknown subject');
  return { trial: { step: uint(step), accused: hash32(accused), subject }, findings: listOf(findings, readFinding) };
}

function readFinding(item) {
  const [peer, fault, correction] = fields(item, 3);
  if (!(typeof fault === 'number' && fault <= 19)) throw new MessageError('an unknown fault');
  return { peer: hash32(peer), fault, correction: octets(correction) };
}

/** record: { index, slot, entries: [Envelope | null], verdicts } */
export function headAfter(record, head) {
  const { slot } = record;
  const digests = record.entries.map((entry) => entry && raw(entry.digest));
  const content = [record.index, slot.step, slot.attempt, slot.phase, digests, record.verdicts.map(verdictItem)];
  return hash('btard/log', head, encode(content)); // LOG-3
}

export function encodeRecord({ index, slot, entries, verdicts }) {
  return encode([index, [slot.step, slot.attempt, slot.phase], entries.map((entry) => entry && entry.toItem()), verdicts.map(verdictItem)]);
}

export function decodeRecord(data) {
  const [index, at, entries, verdicts] = fields(decode(data, MAX_RECORD), 4);
  const [step, attempt, phase] = fields(at, 3);
  if (!AGREED.includes(phase)) throw new MessageError('the phase is not an agreed one');
  return {
    index: uint(index), slot: makeSlot(uint(step), uint(attempt), phase),
    entries: listOf(entries, (entry) => (entry === null ? null : Envelope.fromItem(entry))),
    verdicts: listOf(verdicts, readVerdict, MAX_VERDICTS),
  };
}
