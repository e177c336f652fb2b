/**
 * A registry with the demo's images, as a process of its own, so that it can run inside a network namespace.
 * Prints `HOST PORT` when it serves, and for each line on its input the number of blob fetches so far.
 */
import { createInterface } from 'node:readline';
import { buildDemoImage, type DemoImage, digestOf } from '../../src/node/demo/image.ts';
import { startDemoRegistry } from '../../src/node/demo/registry.ts';

const registry = await startDemoRegistry();
for (const version of ['v1', 'v2', 'v3']) registry.add('demo/web', version, await buildDemoImage(version));
const users = { root: '0', number: '1234', name: 'nobody' };
for (const [tag, user] of Object.entries(users))
  registry.add('demo/user', tag, withUser(await buildDemoImage(tag), user));
console.log(registry.host);

/** The same image, whose configuration says who runs it. */
function withUser({ manifest, blobs }: DemoImage, user: string): DemoImage {
  const document = JSON.parse(manifest.toString());
  const configuration = JSON.parse(blobs.get(document.config.digest)!.toString());
  const changed = Buffer.from(
    JSON.stringify({ ...configuration, config: { ...configuration.config, User: user, Cmd: ['/bin/sh'] } }),
  );
  const layers = [...blobs].filter(([digest]) => digest !== document.config.digest);
  document.config = { ...document.config, digest: digestOf(changed), size: changed.length };
  return {
    manifest: Buffer.from(JSON.stringify(document)),
    blobs: new Map([...layers, [digestOf(changed), changed]]),
  };
}

createInterface({ input: process.stdin })
  .on('line', () => console.log(String(registry.blobFetches())))
  .on('close', () => process.exit(0));
