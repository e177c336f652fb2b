/**
 * A registry with every image that the CRI's test programs ask for, as a process of its own, so that it can run inside a
 * network namespace. Prints its `HOST:PORT` when it serves, and ends with its standard input.
 */
import { suiteImages } from '../conformance/cri/suite-images.ts';
import { busyboxLayer, criImages } from './cri-images.ts';
import { startRegistry } from './registry.ts';

const registry = await startRegistry();
for (const { name, image } of suiteImages(await busyboxLayer())) {
  const [repository, tag] = name.split(':');
  registry.push(repository!, tag!, image);
}
for (const { names, image } of await criImages()) {
  for (const name of names) {
    const [, repository, tag] = /^[^/]+\/(.+):([^:/]+)$/.exec(name)!;
    registry.push(repository!, tag!, image);
  }
}
console.log(registry.host);
process.stdin.resume().on('end', () => process.exit(0));
