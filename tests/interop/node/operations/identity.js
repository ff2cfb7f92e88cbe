import { admissible, Identity, verify } from '../identity.js';
import { bytes, bytesForm } from './forms.js';

export default {
  'identity.peer_id': ({ seed }) => new Identity(bytes(seed)).id,
  'identity.admissible': ({ key }) => admissible(key),
  'identity.sign': ({ seed, digest }) => bytesForm(new Identity(bytes(seed)).sign(digest)),
  'identity.verify': ({ key, digest, signature }) => verify(key, digest, bytes(signature)),
};
