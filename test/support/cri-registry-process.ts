/**
 * A registry with every image that the CRI's test programs ask for, as a process of its own, so that it can run inside a
 * network namespace. Prints its `HOST:PORT` when it serves, and ends with its standard input.
 */
import { criImages } from './cri-images.ts';
import { startRegistry } from './registry.ts';

const registry = await startRegistry();
for (const { names, image } of await criImages()) {
  for (const name of names) {
    const [, repository, tag] = /^[^/]+\/(.+):([^:/]+)$/.exec(name)!;
    registry.push(repository!, tag!, image);
  }
}
console.log(registry.host);
process.stdin.resume().on('end', () => process.exit(0));
