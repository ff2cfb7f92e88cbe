import { vectorBytes } from '../arithmetic.js';
import * as code from '../redundant_code.js';
import { checkGroups, withDefaults } from '../model.js';
import { bytes, bytesForm, float32, float64, integer, real, realForm, vectorForm } from './forms.js';
import { reportForm, transcript } from './transcripts.js';

const COINS = new Uint8Array(32); // nobody lies to a vector
const matrixForm = (rows) => rows.map((row) => vectorForm(Float64Array.from(row)));
const rowsOf = ({ rows }) => rows.map(float32);
const frameOf = ({ rows, size, compression }) => code.groupFrame(rows.length, size, compression);

function readParts({ contents, length, compression }) {
  const read = contents.map((content) => code.readRow(bytes(content), code.codedLength(length, compression)));
  return { rows: read.map(([row]) => vectorForm(row)), possible: read.map(([, possible]) => possible) };
}

function decodeGroup(input) {
  const { part, outside } = code.decodeGroup(rowsOf(input), input, input.length, COINS);
  return { part: vectorForm(part), outside };
}

function configuration(input) {
  checkGroups(withDefaults({ ...input, profile: 'redundant-code' }));
  return true;
}

function regroup({ members, workers, ...input }) {
  const size = code.groupSizeAt(input.group_size, input.liars, input.tolerated);
  const left = members.map((group) => group.filter((worker) => workers.includes(worker)));
  return { size, members: left.map((group) => group.map((worker, i) => [worker, i % size])) };
}

const numbersOf = (input) => ({ products: float64(input.products), norms: float64(input.norms) });

export default {
  'redundant_code.frame': ({ rows, compression }) => matrixForm(code.frame(rows, compression)),
  'redundant_code.check_code': ({ rows, liars, compression }) => (code.checkCode(rows, liars, compression), true),
  'redundant_code.group_frame': ({ members, rows, compression }) => matrixForm(code.groupFrame(members, rows, compression)),
  'redundant_code.encode': ({ part, coefficients }) => vectorForm(code.encodeRow(float32(part), [...float64(coefficients)])),
  'redundant_code.parts': (input) =>
    code.codedParts(transcript(input.transcript), input.worker, float32(input.gradient)).map((row) => bytesForm(vectorBytes(row))),
  'redundant_code.read_parts': readParts,
  'redundant_code.agreeing': (input) => code.agreeing(rowsOf(input), frameOf(input), input.liars, COINS),
  'redundant_code.decode': (input) => vectorForm(code.decode(rowsOf(input), frameOf(input), input.agreeing, input.length)),
  'redundant_code.decode_group': decodeGroup,
  'redundant_code.mean': ({ parts }) => vectorForm(code.meanOf(parts.map(float32))),
  'redundant_code.bad_group_probability': ({ sizes, liars, byzantine }) =>
    realForm(code.badGroupProbability(sizes, liars, sizes.reduce((sum, size) => sum + size, 0), byzantine)),
  'redundant_code.group_size': (input) =>
    [code.groupSizeAt(input.group_size, input.liars, input.tolerated), code.liarsAt(input.liars, input.tolerated)],
  'redundant_code.configuration': configuration,
  'redundant_code.draw_groups': ({ randomness, step, workers, size }) => code.drawGroups(randomness, integer(step), workers, size),
  'redundant_code.regroup': regroup,
  'redundant_code.report': (input) => reportForm(code.reportOf(transcript(input.transcript), float32(input.gradient))),
  'redundant_code.possible_report': (input) =>
    code.possibleReport(real(input.gradient_clip), input.parts, bytes(input.products), bytes(input.norms), input.chunks),
  'redundant_code.adds_up': (input) => code.addsUp(input.workers, input.groups, numbersOf(input)),
  'redundant_code.right_aggregate': (input) =>
    code.rightAggregate(input.workers, input.groups, input.gradients.map(float32), float32(input.aggregate)),
};

