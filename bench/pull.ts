/**
 * Measures the pull of an image from a registry on loopback that runs in a process of its own, with Debian's containerd
 * beside it where that is installed (as root, in a network namespace), taking turns.
 * Prints one line of JSON a figure: { what, result, target }.
 *
 * Usage: node bench/pull.ts [--megabytes 96] [--layers 4] [--runs 3]
 */
import { fork, spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ImageService } from '../src/api/cri/index.ts';
import { systemClock } from '../src/async/index.ts';
import { createLogger } from '../src/log/index.ts';
import { openImageStore } from '../src/runtime/images/index.ts';
import { createGrpcClient } from '../src/wire/grpc/index.ts';
import { Containerd } from '../test/support/containerd.ts';
import { type ArchiveEntry, makeImage, makeLayer } from '../test/support/images.ts';
import { NetworkNamespace } from '../test/support/network-namespace.ts';
import { startRegistry } from '../test/support/registry.ts';
import { percentile } from './statistics.ts';

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '96' },
    layers: { type: 'string', default: '4' },
    runs: { type: 'string', default: '3' },
    serve: { type: 'boolean', default: false },
    namespace: { type: 'string' },
  },
});

/** Files that shrink to about a half, as programs do; their compressed size is what was asked for. */
function layerEntries(compressedBytes: number, seed: number): ArchiveEntry[] {
  const fileBytes = 256 * 1024;
  const count = Math.round((compressedBytes * 2) / fileBytes);
  const entries: ArchiveEntry[] = [{ path: `layer${seed}/` }];
  for (let at = 0; at < count; at++) {
    const content = Buffer.alloc(fileBytes);
    for (let piece = 0; piece < fileBytes; piece += 8192) randomFillSync(content, piece, 4096);
    entries.push({ path: `layer${seed}/file${at}`, content });
    for (let small = 0; small < 8; small++)
      entries.push({ path: `layer${seed}/small${at}-${small}`, content: `small ${at} ${small} ${seed}` });
  }
  return entries;
}

async function serve(): Promise<void> {
  const layers = Number(values.layers);
  const registry = await startRegistry();
  const bytes = (Number(values.megabytes) * 1e6) / layers;
  for (const compression of ['gzip', 'zstd'] as const) {
    const made = Array.from({ length: layers }, (_, at) =>
      makeLayer(layerEntries(bytes, at), { compression, level: 6 }),
    );
    registry.push('bench', compression, makeImage(made));
  }
  process.send!(registry.host);
  process.on('disconnect', () => process.exit(0));
}

interface Pull {
  ms: number;
  inodes: number;
  size: number;
}

async function pullOnce(reference: string): Promise<Pull> {
  const root = await mkdtemp(join(tmpdir(), 'deckhand-bench-'));
  const store = await openImageStore({ root, log: createLogger('bench', () => {}), clock: systemClock });
  try {
    const begun = performance.now();
    const { size } = await store.pull(reference);
    const ms = performance.now() - begun;
    const { inodesUsed } = await store.fsInfo();
    return { ms, inodes: inodesUsed, size };
  } finally {
    await store.close();
    await rm(root, { recursive: true, force: true });
  }
}

async function pullWithContainerd(containerd: Containerd, reference: string): Promise<number> {
  const client = createGrpcClient(ImageService, containerd.endpoint);
  try {
    const begun = performance.now();
    await client.pullImage({ image: { image: reference } });
    const ms = performance.now() - begun;
    await client.removeImage({ image: { image: reference } });
    return ms;
  } finally {
    client.close();
  }
}

function print(what: string, milliseconds: readonly number[], more: string, target: string): void {
  const seconds = milliseconds.map((ms) => ms / 1000);
  const worst = Math.max(...seconds).toFixed(2);
  const result = `median ${percentile(seconds, 0.5).toFixed(2)} s, worst ${worst} s (n=${seconds.length}${more})`;
  console.log(JSON.stringify({ what, result, target }));
}

async function measure(containerd: Containerd | undefined): Promise<void> {
  const server = fork(import.meta.filename, [...process.argv.slice(2), '--serve']);
  try {
    const [host] = (await once(server, 'message')) as [string];
    for (const compression of ['gzip', 'zstd']) {
      const reference = `${host}/bench:${compression}`;
      const ours: Pull[] = [];
      const theirs: number[] = [];
      for (let run = 0; run < Number(values.runs); run++) {
        ours.push(await pullOnce(reference));
        if (containerd) theirs.push(await pullWithContainerd(containerd, reference));
      }
      const { size, inodes } = ours[0]!;
      const what = `pull of a ${Math.round(size / 1e6)} MB ${compression} image in ${values.layers} layers from loopback`;
      const milliseconds = ours.map(({ ms }) => ms);
      print(what, milliseconds, `; ${inodes} files`, compression === 'gzip' ? '≤ 2.5 s, ≤ containerd' : '≤ containerd');
      if (containerd) print(`${what}, Debian's containerd`, theirs, '', '');
    }
  } finally {
    server.disconnect();
  }
}

/** Runs the measuring again inside a network namespace, with containerd there too. */
async function measureBeside(): Promise<void> {
  await using namespace = await NetworkNamespace.create('pull');
  const [program, ...rest] = [...namespace.enter(), process.execPath, ...process.execArgv];
  const argv = [...rest, import.meta.filename, ...process.argv.slice(2), '--namespace', namespace.name];
  const child = spawn(program!, argv, { stdio: 'inherit' });
  const [status] = (await once(child, 'exit')) as [number | null];
  process.exitCode = status ?? 1;
}

if (values.serve) await serve();
else if (values.namespace) {
  const namespace = NetworkNamespace.at(values.namespace);
  await using containerd = await Containerd.start(namespace, { podCidr: '10.99.0.0/24', pauseImage: 'pause' });
  await measure(containerd);
} else if (process.getuid?.() === 0 && existsSync('/usr/bin/containerd')) await measureBeside();
else await measure(undefined);
