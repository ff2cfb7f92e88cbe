import * as log from '../log.js';
import { COUNT_FIELDS, REAL_FIELDS } from '../model.js';
import { Envelope } from '../messages.js';
import { decode } from '../encoding.js';
import { bytes, bytesForm, integer, integerForm, real, realForm, slot, slotForm } from './forms.js';

function configurationForm(config) {
  return {
    ...Object.fromEntries(COUNT_FIELDS.map((name) => [name, integerForm(config[name])])),
    ...Object.fromEntries(REAL_FIELDS.map((name) => [name, realForm(config[name])])),
    profile: config.profile, task: config.task, optimizer: config.optimizer,
  };
}

function configuration(form) {
  return {
    ...form,
    ...Object.fromEntries(COUNT_FIELDS.map((name) => [name, integer(form[name])])),
    ...Object.fromEntries(REAL_FIELDS.map((name) => [name, real(form[name])])),
  };
}

function writeGenesis(input) {
  const genesis = log.makeGenesis(configuration(input.configuration), input.roster, input.state_hash);
  return { run: genesis.run, data: bytesForm(log.encodeGenesis(genesis)) };
}

function readGenesis({ data }) {
  const { run, config, roster, stateHash } = log.decodeGenesis(bytes(data));
  return { run, configuration: configurationForm(config), roster, state_hash: stateHash };
}

const envelope = (form) => Envelope.fromItem(decode(bytes(form), Infinity));

const verdict = ([[step, accused, subject], findings]) => ({
  trial: { step: integer(step), accused, subject },
  findings: findings.map(([peer, fault, correction]) => ({ peer, fault, correction: bytes(correction) })),
});

const verdictForm = ({ trial, findings }) => [[integerForm(trial.step), trial.accused, trial.subject],
  findings.map(({ peer, fault, correction }) => [peer, fault, bytesForm(correction)])];

function writeRecord(input) {
  const entries = input.entries.map((entry) => entry && envelope(entry));
  return bytesForm(log.encodeRecord({ index: integer(input.index), slot: slot(input.slot), entries, verdicts: input.verdicts.map(verdict) }));
}

function readRecord({ data }) {
  const record = log.decodeRecord(bytes(data));
  const digests = record.entries.map((entry) => entry && entry.digest);
  return { index: integerForm(record.index), slot: slotForm(record.slot), digests, verdicts: record.verdicts.map(verdictForm) };
}

export default {
  'log.write_genesis': writeGenesis,
  'log.read_genesis': readGenesis,
  'log.write_record': writeRecord,
  'log.read_record': readRecord,
  'log.head': ({ head, record }) => log.headAfter(log.decodeRecord(bytes(record)), head),
};
