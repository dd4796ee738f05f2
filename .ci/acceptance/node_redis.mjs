// Runs node-redis 6 against the three addresses on the command line. Prints `done` if everything was as expected.
import assert from 'node:assert/strict';
import { createClient } from 'redis';

const clients = process.argv.slice(2).map((address) => createClient({ url: `redis://${address}` }));
for (const client of clients) {
  client.on('error', (error) => { throw error; });
  await client.connect();
}
const [a, b, c] = clients;
assert.equal(await a.ping(), 'PONG');
assert.equal(await a.sendCommand(['CL', 'QUORUM', 'SET', 'js', 'äöü']), 'OK');
assert.equal(await b.sendCommand(['CL', 'QUORUM', 'GET', 'js']), 'äöü');
assert.equal(await c.sendCommand(['CL', 'QUORUM', 'INCRBY', 'jsn', '7']), 7);
await b.set('plain', '1');
assert.equal(await b.get('plain'), '1');
assert.equal(await a.sAdd('jss', ['x', 'y']), 2);
assert.deepEqual([...(await a.sMembers('jss'))].sort(), ['x', 'y']);
assert.equal(await a.hSet('jsh', { f: '1', g: '2' }), 2);
assert.deepEqual({ ...(await a.hGetAll('jsh')) }, { f: '1', g: '2' });
assert.equal(await a.del('plain'), 1);
const replies = await c.multi().set('jsm', '1').incrBy('jsm', 4).get('jsm').exec();
assert.deepEqual(replies, ['OK', 5, '5']);
const scanned = [];
for await (const keys of b.scanIterator({ COUNT: 2 })) scanned.push(...keys);
assert.deepEqual([...new Set(scanned)].sort(), ['js', 'jsh', 'jsm', 'jsn', 'jss']);
await a.select(1);
await a.set('js', 'in another database');
assert.equal(await b.get('js'), 'äöü');
await Promise.all(clients.map((client) => client.close()));
console.log('done');
