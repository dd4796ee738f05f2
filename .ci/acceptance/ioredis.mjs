// Runs ioredis against the addresses on the command line. Prints `done` if everything was as expected.
import assert from 'node:assert/strict';
import { Redis } from 'ioredis';

const open = (address, options) => new Redis(`redis://${address}`, { maxRetriesPerRequest: 1, ...options });
const clients = process.argv.slice(2).map((address) => open(address));
const [a, b] = clients;
const numbered = open(process.argv[2], { db: 1 });
assert.equal(await a.call('CL', 'QUORUM', 'SET', 'io', 'v'), 'OK');
assert.equal(await b.call('CL', 'QUORUM', 'GET', 'io'), 'v');
assert.deepEqual(await a.multi().set('iom', '1').incr('iom').get('iom').exec(), [[null, 'OK'], [null, 2], [null, '2']]);
await assert.rejects(a.multi().set('never', '1').call('SPOP', 's').exec(), /EXECABORT/);
assert.equal(await a.get('never'), null);
// What is written with `db: 1` is not in database 0, and is there for every node.
assert.equal(await numbered.set('io1', 'w'), 'OK');
assert.equal(await a.get('io1'), null);
await b.select(1);
assert.equal(await b.call('CL', 'QUORUM', 'GET', 'io1'), 'w');
const scanned = [];
for await (const keys of a.scanStream({ count: 1 })) scanned.push(...keys);
assert.deepEqual([...new Set(scanned)].sort(), ['io', 'iom']);
for (const client of [...clients, numbered]) client.disconnect();
console.log('done');
