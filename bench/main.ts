/**
 * Measures a whole cluster and writes docs/benchmarks.md.
 * Usage: node bench/main.ts [PART ...]   parts: start pods burst memory api service kubelet runtime; default: all
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { PodTimeline } from '../src/kubelet/index.ts';
import { buildDemoImage } from '../src/node/demo/image.ts';
import { startDemoRegistry } from '../src/node/demo/registry.ts';
import { BenchCluster } from './cluster.ts';
import { allAtOnce, oneAtATime } from './pods.ts';
import { type Figure, writeReport } from './report.ts';
import { format, percentile, summarise } from './statistics.ts';

const asked = process.argv.slice(2);
const wants = (part: string): boolean => asked.length === 0 || asked.includes(part);
const figures: Figure[] = [];
let timeline = '';

function note(what: string, result: string, target: string): void {
  figures.push({ what, result, target });
  console.log(`${what}: ${result} (target ${target})`);
}

async function measureStart(): Promise<void> {
  const fresh: number[] = [];
  const again: number[] = [];
  for (let i = 0; i < 3; i++) {
    const cluster = new BenchCluster();
    fresh.push(await cluster.up());
    cluster.down();
    again.push(await cluster.up());
    cluster.down();
    cluster.remove();
  }
  note(
    'command to node Ready, new data directory',
    `median ${format(percentile(fresh, 0.5) / 1000)} s (n=3)`,
    '≤ 1.0 s',
  );
  note('command to node Ready, second start', `median ${format(percentile(again, 0.5) / 1000)} s (n=3)`, '≤ 1.0 s');
}

async function withCluster(use: (cluster: BenchCluster, image: string) => Promise<void>): Promise<void> {
  const registry = await startDemoRegistry();
  registry.add('bench/web', 'v1', await buildDemoImage('v1'));
  const cluster = new BenchCluster();
  try {
    await cluster.up();
    await use(cluster, `${registry.host}/bench/web:v1`);
  } finally {
    cluster.down();
    cluster.remove();
    await registry.close();
  }
}

async function measurePods(cluster: BenchCluster, image: string): Promise<void> {
  await oneAtATime(cluster.client, image, 3);
  const { readyMs, goneMs } = await oneAtATime(cluster.client, image, 30);
  note('pod create → Ready, one at a time', summarise(readyMs), 'p50 ≤ 80 ms, p99 ≤ 160 ms');
  note('pod delete → gone, one at a time (its container ends at once)', summarise(goneMs), 'p50 ≤ 150 ms');
  timeline = await describeTimeline(cluster);
}

/** Medians of the kubelet's own timelines of the pods that were made one at a time. */
async function describeTimeline(cluster: BenchCluster): Promise<string> {
  const { body } = await cluster.client.request('GET', '/api/v1/nodes/bench/proxy/debug/timeline');
  const pods = JSON.parse(body.toString()) as PodTimeline[];
  const steps = new Map<string, { atMs: number[]; durationMs: number[] }>();
  for (const { name, steps: list } of pods) {
    if (!name.startsWith('one-')) continue;
    for (const { step, atMs, durationMs } of list) {
      const entry = steps.get(step) ?? { atMs: [], durationMs: [] };
      entry.atMs.push(atMs);
      if (durationMs !== undefined) entry.durationMs.push(durationMs);
      steps.set(step, entry);
    }
  }
  const rows = [...steps].map(([step, { atMs, durationMs }]) => ({
    step,
    atMs: percentile(atMs, 0.5),
    durationMs: percentile(durationMs, 0.5),
  }));
  rows.sort((a, b) => a.atMs - b.atMs);
  const lines = rows.map(
    ({ step, atMs, durationMs }) =>
      `| ${step} | ${format(atMs)} | ${Number.isNaN(durationMs) ? '' : format(durationMs)} |`,
  );
  return `Medians of the kubelet's timelines of the pods made one at a time; milliseconds since the kubelet's watch showed the pod.\n\n| step | ended at | took |\n| --- | --- | --- |\n${lines.join('\n')}`;
}

async function measureBurst(cluster: BenchCluster, image: string): Promise<void> {
  const { readyMs, goneMs } = await allAtOnce(cluster.client, image, 60);
  note('60 pods at once, all Ready', `${format(readyMs / 1000)} s`, '≤ 3.5 s');
  note('60 pods deleted at once, all gone', `${format(goneMs / 1000)} s`, '≤ 3 s');
}

async function measureIdle(cluster: BenchCluster): Promise<void> {
  // Idle is what is after the start's work, to which the giving back of its memory belongs.
  await new Promise((resolve) => setTimeout(resolve, 35_000));
  const before = cluster.processes();
  await new Promise((resolve) => setTimeout(resolve, 30_000));
  const after = cluster.processes();
  const cpu = (list: typeof before) => list.reduce((sum, one) => sum + one.cpuSeconds, 0);
  const resident = after.reduce((sum, one) => sum + one.residentBytes, 0);
  note(
    'idle stack, resident memory of all processes',
    `${Math.round(resident / 1e6)} MB in ${after.length} processes`,
    '≤ 200 MB',
  );
  note('idle stack, CPU', `${format(((cpu(after) - cpu(before)) / 30) * 100)} % of a core over 30 s`, '≤ 1 %');
}

/** Benchmarks of single rooms are programs of their own that print lines of JSON: { what, result, target }. */
function measureRoom(program: string, argv: string[] = []): void {
  const path = join(import.meta.dirname, program);
  if (!existsSync(path)) return;
  const run = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', path, ...argv], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for (const line of run.stdout.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { what, result, target } = JSON.parse(line) as Figure;
    if (what) note(what, result, target ?? '');
  }
}

if (wants('start')) await measureStart();
if (wants('pods') || wants('burst') || wants('memory')) {
  await withCluster(async (cluster, image) => {
    if (wants('memory')) await measureIdle(cluster);
    if (wants('pods')) await measurePods(cluster, image);
    if (wants('burst')) await measureBurst(cluster, image);
  });
}
if (wants('api')) measureRoom('apiserver.ts');
if (wants('service')) {
  for (const [mode, services] of [
    ['nftables', '1000'],
    ['nftables', '5000'],
    ['iptables', '1000'],
  ] as const) {
    measureRoom('proxy.ts', ['--mode', mode, '--services', services, '--rounds', '30']);
  }
}
if (wants('kubelet')) measureRoom('kubelet.ts');
if (wants('runtime')) {
  measureRoom('runtime.ts');
  measureRoom('pull.ts');
}
writeReport(figures, timeline);
process.exit(0);
