/**
 * Measures the pull of an image from a registry on loopback that runs in a process of its own.
 * Prints one line of JSON a figure: { what, result, target }.
 *
 * Usage: node bench/pull.ts [--megabytes 96] [--layers 4] [--runs 3]
 */
import { fork } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/async/index.ts';
import { createLogger } from '../src/log/index.ts';
import { openImageStore } from '../src/runtime/images/index.ts';
import { type ArchiveEntry, makeImage, makeLayer } from '../test/support/images.ts';
import { startRegistry } from '../test/support/registry.ts';
import { percentile } from './statistics.ts';

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '96' },
    layers: { type: 'string', default: '4' },
    runs: { type: 'string', default: '3' },
    serve: { type: 'boolean', default: false },
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

async function pullOnce(reference: string): Promise<{ ms: number; bytes: number; inodes: number; size: number }> {
  const root = await mkdtemp(join(tmpdir(), 'deckhand-bench-'));
  try {
    const store = await openImageStore({ root, log: createLogger('bench', () => {}), clock: systemClock });
    const begun = performance.now();
    const { size } = await store.pull(reference);
    const ms = performance.now() - begun;
    const { usedBytes, inodesUsed } = await store.fsInfo();
    return { ms, bytes: usedBytes, inodes: inodesUsed, size };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

async function measure(): Promise<void> {
  const server = fork(import.meta.filename, [...process.argv.slice(2), '--serve']);
  try {
    const [host] = (await once(server, 'message')) as [string];
    for (const compression of ['gzip', 'zstd']) {
      const runs = [];
      for (let run = 0; run < Number(values.runs); run++) runs.push(await pullOnce(`${host}/bench:${compression}`));
      const { size, inodes } = runs[0]!;
      const seconds = runs.map(({ ms }) => ms / 1000);
      const result = `median ${percentile(seconds, 0.5).toFixed(2)} s, worst ${Math.max(...seconds).toFixed(2)} s (n=${runs.length}; ${inodes} files)`;
      const what = `pull of a ${Math.round(size / 1e6)} MB ${compression} image in ${values.layers} layers from loopback`;
      console.log(JSON.stringify({ what, result, target: compression === 'gzip' ? '≤ 2.5 s' : '' }));
    }
  } finally {
    server.disconnect();
  }
}

if (values.serve) await serve();
else await measure();
