import { cut, partition } from '../butterfly_clip.js';
import { treeHash } from '../encoding.js';
import * as vote from '../majority_vote.js';
import { ProtocolError } from '../errors.js';
import { withDefaults } from '../model.js';
import { bytes, bytesForm, float32, integer, real, vectorForm } from './forms.js';
import { transcript } from './transcripts.js';

function parts({ gradient, workers, step }) {
  const vector = float32(gradient);
  const bodies = partition(vector.length, workers).map((bound) => vote.packSigns(cut(vector, bound), integer(step)));
  return bodies.map((body) => [bytesForm(body), treeHash(body)]);
}

function readParts({ contents, length }) {
  const read = contents.map((content) => vote.readBallot(bytes(content), length));
  return { votes: read.map(([votes]) => bytesForm(votes)), possible: read.map(([, possible]) => possible) };
}

function readAggregate({ content, length }) {
  const vector = vote.readTally(bytes(content), length);
  return vector && vectorForm(vector);
}

const messageOf = (form) => form && {
  products: bytes(form.products ?? ''), norms: bytes(form.norms ?? ''), chunks: form.chunks.map(bytes),
};

function room(input) {
  const config = withDefaults({ ...input, detection: real(input.detection), profile: 'majority-vote' });
  const most = vote.reportBytes(config.peers, config.detection, config.dimension);
  if (most > vote.MAX_CHUNK_BYTES) throw new ProtocolError('chunks of 2^19 bytes (SIGN-9)');
  return most;
}

export default {
  'majority_vote.pack_signs': ({ vector, step }) => bytesForm(vote.packSigns(float32(vector), integer(step))),
  'majority_vote.parts': parts,
  'majority_vote.majority': ({ votes, length, step }) => bytesForm(vote.majority(votes.map(bytes), length, integer(step))),
  'majority_vote.read_parts': readParts,
  'majority_vote.read_aggregate': readAggregate,
  'majority_vote.checked_chunks': ({ detection }) => vote.checkedChunks(real(detection)),
  'majority_vote.chosen_chunks': ({ randomness, part, length, checked }) => vote.chosenChunks(randomness, integer(part), length, checked),
  'majority_vote.report': (input) =>
    vote.shownChunks(transcript(input.transcript), input.worker, float32(input.gradient), bytes(input.aggregate)).map(bytesForm),
  'majority_vote.possible_report': (input) => vote.openedChunks(transcript(input.transcript), input.worker, messageOf(input.report)) !== null,
  'majority_vote.openly_wrong': (input) => vote.openlyWrong(transcript(input.transcript), input.reports.map(messageOf)),
  'majority_vote.room': room,
};

