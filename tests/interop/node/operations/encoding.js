import * as encoding from '../encoding.js';
import { bytes, bytesForm, integer, integerForm, item, itemForm } from './forms.js';

const limits = ({ items, depth, named }) => {
  if (items === undefined && depth === undefined && named === undefined) return undefined;
  return { items: items ?? Infinity, depth: depth ?? encoding.MAX_DEPTH, named: named ?? false };
};

export default {
  'encoding.tagged_hash': ({ tag, parts }) => encoding.hash(tag, ...parts.map(bytes)),
  'encoding.expand': ({ tag, parts, length }) => bytesForm(encoding.expand(tag, parts.map(bytes), length)),
  'encoding.sample_indices': ({ seed, count, population }) =>
    encoding.sampleIndices(bytes(seed), integer(count), integer(population)).map(integerForm),
  'encoding.encode': (input) => bytesForm(encoding.encode(item(input.item))),
  'encoding.decode': ({ data, limit, ...shape }) => itemForm(encoding.decode(bytes(data), limit, limits(shape))),
  'encoding.decode_sequence': ({ data, limit }) => [...encoding.decodeSequence(bytes(data), limit)].map(([, record]) => bytesForm(record)),
  'encoding.tree_hash': ({ body }) => encoding.treeHash(bytes(body)),
  'encoding.tree_path': ({ body, index }) => bytesForm(encoding.treePath(encoding.treeLevels(bytes(body)), index)),
  'encoding.tree_holds': ({ root, length, index, chunk, path }) => encoding.treeHolds(root, length, index, bytes(chunk), bytes(path)),
};
