/**
 * A registry with faults to switch on, as a process of its own, so that it can run inside a network namespace.
 * Prints its address when it serves. Each line on its input is the faults from now on, as JSON (patterns as their
 * source); each is answered with a line.
 */
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { busyboxEntries, makeImage, makeLayer } from './images.ts';
import { startRegistry } from './registry.ts';

const registry = await startRegistry();
const busybox = makeLayer(await busyboxEntries(['sh', 'sleep', 'cat', 'ls', 'env', 'echo', 'httpd', 'wget']));
const config = { Env: ['PATH=/bin'], Cmd: ['sleep', '100000'] };
// Each behind a layer of its own, so that what one case pulled does not help another.
for (const name of ['good', 'again', 'refused', 'reset', 'wrong', 'private']) {
  const layer = makeLayer([{ path: 'name', content: `${name}\n` }]);
  registry.push(`test/${name}`, 'v1', makeImage([busybox, layer], { config }));
}
const bulk = makeLayer([{ path: 'bulk', content: randomBytes(Number(process.argv[2] ?? 1) * 1_048_576) }]);
registry.push('test/large', 'v1', makeImage([busybox, bulk], { config }));
console.log(registry.host);

createInterface({ input: process.stdin })
  .on('line', (line) => {
    registry.faults = JSON.parse(line, (key, value) => (key === 'path' ? new RegExp(value) : value));
    console.log('done');
  })
  .on('close', () => process.exit(0));
