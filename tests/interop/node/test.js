// The worked examples of the chapters, and runs of the simulation. `node --test test.js`

import assert from 'node:assert/strict';
import test from 'node:test';
import { float32Vector, foldingSum, vectorBytes } from './arithmetic.js';
import { hex, unhex } from './bytes.js';
import * as encoding from './encoding.js';
import { Identity, verify } from './identity.js';
import { headAfter, makeGenesis } from './log.js';
import { bodyHash, encodeBody, Envelope, makeSlot, NO_NOTICES, Phase, seal } from './messages.js';
import { defaultDistanceRatio } from './model.js';
import * as mprng from './mprng.js';
import { majority, packSigns } from './majority_vote.js';
import { conditioning } from './redundant_code.js';
import { SCENARIOS, simulate } from './simulate.js';
import { applyUpdate, initialOptimizerState, readOptimizer, stateHash } from './update.js';

const range = (from, count) => Uint8Array.from({ length: count }, (_, k) => from + k);
const example = (text) => encoding.hash('btard/example', hex(new TextEncoder().encode(text)));

test('encoding: hash, XOF, sampling', () => {
  assert.equal(example('abc'), '97bfc207c8132a8c37c925c24adcc725e786b9517c5196b2cea9f452967a7cd0');
  assert.equal(hex(encoding.expand('btard/example', ['616263'], 32)), 'f0c2581e8ff119680978d72af2b1458b0220ef923ff6dd787571808caf423b12');
  assert.deepEqual(encoding.sampleIndices(new Uint8Array(32), 8, 1000).map(Number), [448, 318, 803, 535, 275, 615, 28, 840]);
});

test('encoding: items', () => {
  const item = [1, unhex('deadbeef'), 300, [], null, true, new Map([['task', 'digits'], ['n', 16]])];
  const bytes = '870144deadbeef19012c80f6f5a2616e10647461736b66646967697473';
  assert.equal(hex(encoding.encode(item)), bytes);
  assert.equal(hex(encoding.encode(encoding.decode(unhex(bytes), 100))), bytes);
  const refused = {
    '43616263': 'Oversized', 8201: 'Malformed', '0000': 'Malformed', 20: 'Malformed', f97e00: 'Malformed', d81c81d81d00: 'Malformed',
    '9f00ff': 'Malformed', 1817: 'NotCanonical', '62c080': 'Malformed', a2616201616102: 'NotCanonical', a2616101616102: 'NotCanonical',
    a10000: 'Malformed', [`${'81'.repeat(16)}80`]: 'TooDeep', '9bffffffffffffffff': 'Malformed',
  };
  for (const [bad, name] of Object.entries(refused)) {
    assert.throws(() => encoding.decode(unhex(bad), bad === '43616263' ? 3 : 100), { name }, bad);
  }
});

test('encoding: trees', () => {
  const body = new Uint8Array(300);
  body.set(range(0, 256));
  assert.equal(encoding.treeHash(body), '6a1bcc8ba82c884506298aca62e2a96eb3513bb5dd43620ccabb891e87299822');
  const path = encoding.treePath(encoding.treeLevels(body), 2);
  assert.equal(hex(path), '819ce52f5eaaef1fabc9e435a82efa596ee1b653f046efb79063f6e02881c4b5');
  assert.ok(encoding.treeHolds(encoding.treeHash(body), 300, 2, body.subarray(256), path));
});

test('identity', () => {
  const alice = new Identity(range(0, 32));
  assert.equal(alice.id, '03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8');
  const signature = alice.sign(example('abc'));
  assert.equal(hex(signature).slice(64), 'fb2ee4e09fd966538c407abf89bbe08d8b3a0c4cd2eebc745ecf9bfb0b1f4008');
  assert.ok(verify(alice.id, example('abc'), signature));
  const key = '3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29';
  const cofactored = ['98519eadf35b995233b51b5cd23e9cc5a28b639b5a4af0ec903cb960d81b7819',
    '199a38ecabf5c6c9d107ae4d755a39799edeba4bc13febf2f828bb6d2b27480f'].join('');
  assert.ok(!verify(key, '00'.repeat(32), unhex(cofactored)));
});

test('arithmetic', () => {
  assert.equal(hex(vectorBytes(Float64Array.of(foldingSum([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])))), '6766666666660640');
  assert.equal(foldingSum([1, 2 ** 53, -(2 ** 53)]), 1);
  assert.equal(bodyHash(vectorBytes(Float32Array.of(1, -2.5, 0))), 'c51d7272b835520fcf2dad1ac3cba70b9004d390e0cb91be7850b749297eacc2');
  assert.deepEqual([...float32Vector(unhex('0000803f000020c0'))], [1, -2.5]);
});

test('model: default distance ratios', () => {
  const table = [[4, 1, 17.96], [8, 3, 35.91], [16, 3, 21.26], [16, 7, 71.82], [64, 20, 49.72], [64, 31, 287.29]];
  for (const [n, b, ratio] of table) assert.equal(defaultDistanceRatio(n, b, 4, 0.1, 4).toFixed(2), ratio.toFixed(2));
});

test('messages: an envelope', () => {
  const bob = new Identity(range(32, 32));
  const body = encodeBody({ kind: 'aggregate', aggregateHash: null, notices: NO_NOTICES });
  const envelope = seal(bob, example('run'), makeSlot(5, 1, Phase.AGGREGATE), example('head'), body);
  assert.equal(envelope.digest, 'f90977d2c88685e29036c1fec22fc751e0ea6ff6d4ac33b1a3944006020be78b');
  assert.equal(envelope.encode().length, 180);
  assert.ok(Envelope.decode(envelope.encode(), 100).authentic);
});

const OPTIMIZER = { decay_power: '1', final_rate: '0.0', learning_rate: '0.1', momentum: '0.0', name: 'sgd', nesterov: '0',
  total_steps: '1', warmup_steps: '0', weight_decay: '0.0' };

test('log: genesis and one record', () => {
  const config = {
    peers: 2, tolerated: 0, dimension: 2, steps: 1, validators: 4, liars: 0, compression: 1, group_size: 0, gradient_clip: 1,
    radius_initial: 1, radius_min: 0.5, radius_max: 2, residual_ratio: 0.1, spread_ratio: 4,
    distance_ratio: defaultDistanceRatio(2, 0, 4, 0.1, 4), radius_factor: 1, tolerance: 0, margin: 0, delay: 1, gradient_time: 10,
    detection: 0.99, profile: 'btard', task: 'example', optimizer: Object.entries(OPTIMIZER),
  };
  const roster = [new Identity(range(0, 32)).id, new Identity(range(32, 32)).id];
  const genesis = makeGenesis(config, roster, example('state'));
  assert.equal(genesis.run, '1c5334a4567a7211acaadfb5d9cbf4a81db2067d289ef1b5c4a24762fd2601a6');
  const entry = { digest: '00063be67aca48dc83cd887d6cc7142cff7d0f36bdc2e6403500e944bb500aab' };
  const record = { index: 1, slot: makeSlot(0, 0, Phase.CLOSING), entries: [entry, null], verdicts: [] };
  assert.equal(headAfter(record, genesis.run), 'fe61ad9278b59c30d9fbef9b73a1477c7d54f37d8f8abc481babca2dd2385f2d');
});

test('mprng', () => {
  const [run, secret, peer] = [hex(range(0, 32)), range(32, 32), hex(range(64, 32))];
  const openings = [mprng.privateOpening(secret, run, 5, 1), mprng.privateOpening(new Uint8Array(32), run, 5, 1)];
  assert.equal(mprng.commitment(run, 5, 1, peer, openings[0]), 'ee216ec2584b4cd3a1282698a775e7497186088e4c763818a0d8d244bbf07210');
  const randomness = mprng.combine(openings);
  assert.equal(randomness, '243c181eac8c442ab81ed09c549389eca3cbaf4ee4903e3daf3a11916f7c088e');
  assert.equal(mprng.gradientSeed(run, randomness, 6, peer), '161f467fe8e08ebe901550baa0506631f6f4766fc24cba8468c06e28db7b6140');
  const roster = [1, 2, 3, 4, 5].map((k) => hex(new Uint8Array(32).fill(k)));
  const validators = mprng.drawValidators(randomness, 6, roster, 2);
  assert.deepEqual(validators, [roster[0], roster[3]]);
  assert.deepEqual([...mprng.drawTargets(randomness, 6, validators, roster).values()], [roster[4], roster[1]]);
  assert.deepEqual([...mprng.direction(randomness, 3, 8)], [-18620, -11995, 1032, 15482, -6392, 30764, 14461, 4776]);
});

test('update', () => {
  const schedule = { learning_rate: '0.1', total_steps: '4', warmup_steps: '1', decay_power: '2', final_rate: '0' };
  const adam = { ...schedule, weight_decay: '0.01', beta1: '0.9', beta2: '0.999', epsilon: '1e-08' };
  const expected = [
    [{ ...schedule, name: 'sgd', weight_decay: '0.01', momentum: '0.9', nesterov: '0' }, '1c7a96f5f88cf9b1'],
    [{ ...adam, name: 'adamw' }, 'b6327940011daebc'],
    [{ ...adam, name: 'lamb', layers: '2,1' }, '6c44fff02749b324'],
    [{ name: 'restarted-sgd', rates: '0.1', lengths: '2' }, 'b546899386287fe3'],
    [{ name: 'restarted-sgd', rates: '0.1', lengths: '3' }, 'dd2488ca41437b8c'],
  ];
  for (const [settings, hashed] of expected) {
    const optimizer = readOptimizer(Object.entries(settings));
    const start = [Float32Array.of(1, -2, 0.5), initialOptimizerState(optimizer, 3)];
    const middle = applyUpdate(optimizer, start[0], Float32Array.of(0.5, 0.25, -1), start[1]);
    const end = applyUpdate(optimizer, middle[0], Float32Array.of(0.1, -0.3, 0), middle[1]);
    assert.equal(stateHash(...end).slice(0, 16), hashed, optimizer.name);
  }
});

test('majority vote and redundant code', () => {
  const part = Float32Array.of(0.5, -2, 0, -0, 3, 0, 0, -1, 1);
  const [mine, other] = [packSigns(part, 4), packSigns(part.map((entry) => -entry), 4)];
  assert.deepEqual([mine, other, majority([mine, other], 9, 4)].map(hex), ['5501', 'c600', '5501']);
  assert.equal(conditioning(14, 3, 8).toFixed(2), '7.02');
});

for (const [name, { gone, ...scenario }] of Object.entries(SCENARIOS)) {
  test(`simulation: ${name}`, () => {
    const { logs } = simulate(scenario);
    const ends = [...logs.values()].map(({ ended, states }) => ({ how: ended[0], state: states.at(-1) }));
    const closed = ends.filter(({ how }) => how === 'closed');
    assert.deepEqual(ends.filter(({ how }) => how !== 'closed').map(({ how }) => how), gone);
    assert.equal(new Set(closed.map(({ state }) => state.head + state.replica.stateHash)).size, 1);
  });
}
