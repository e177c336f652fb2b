/**
 * A registry with every image that the CRI's test programs ask for, as a process of its own, so that it can run inside a
 * network namespace. Prints its `HOST:PORT` when it serves, and ends with its standard input.
 */
import { suiteImages } from '../conformance/cri/suite-images.ts';
import { busyboxLayer, criImageNames, criImages, onBusybox } from './cri-images.ts';
import { startRegistry } from './registry.ts';

const registry = await startRegistry();
const base = await busyboxLayer();
for (const { name, image } of suiteImages(base)) {
  const [repository, tag] = name.split(':');
  registry.push(repository!, tag!, image);
}
// Building all takes a while where processes are slow: CRI_IMAGES=few leaves it at the one that tests use most.
const few = process.env['CRI_IMAGES'] === 'few';
const busybox = { names: [criImageNames.busybox], image: onBusybox(base, { Cmd: ['sh'] }) };
for (const { names, image } of few ? [busybox] : await criImages()) {
  for (const name of names) {
    const [, repository, tag] = /^[^/]+\/(.+):([^:/]+)$/.exec(name)!;
    registry.push(repository!, tag!, image);
  }
}
console.log(registry.host);
process.stdin.resume().on('end', () => process.exit(0));
