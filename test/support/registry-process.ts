/**
 * A registry with the demo's images, as a process of its own, so that it can run inside a network namespace.
 * Prints `HOST PORT` when it serves, and for each line on its input the number of blob fetches so far.
 */
import { createInterface } from 'node:readline';
import { buildDemoImage } from '../../src/node/demo/image.ts';
import { startDemoRegistry } from '../../src/node/demo/registry.ts';

const registry = await startDemoRegistry();
for (const version of ['v1', 'v2', 'v3']) registry.add('demo/web', version, await buildDemoImage(version));
console.log(registry.host);
createInterface({ input: process.stdin })
  .on('line', () => console.log(String(registry.blobFetches())))
  .on('close', () => process.exit(0));
