/**
 * What the kubelet costs and how quick it is, on our runtime and (a part) on Debian's containerd. Prints a line of JSON a
 * figure: { what, result, target }.
 *
 * Usage: node bench/kubelet.ts [PART ...], as root. Parts: pods bursts restarts config idle kill many containerd; default: all.
 */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { resources } from '../src/api/index.ts';
import { Cluster } from '../test/support/cluster.ts';
import { Containerd } from '../test/support/containerd.ts';
import { DemoRegistry } from '../test/support/demo-registry.ts';
import { busyboxEntries, dockerArchiveFiles, makeImage, makeLayer, packFiles } from '../test/support/images.ts';
import { MeasuredNode } from './kubelet/node.ts';
import { between, readHistogram } from './kubelet/probe-metrics.ts';
import { format, percentile, summarise } from './statistics.ts';

const asked = process.argv.slice(2);
const wants = (part: string): boolean => asked.length === 0 || asked.includes(part);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
const lateness = 'deckhand_prober_lateness_seconds';

function note(what: string, result: string, target = ''): void {
  process.stdout.write(`${JSON.stringify({ what: `Kubelet: ${what}`, result, target })}\n`);
}

/** A server with probes, as a user would have it. */
const probedSpec = (node: MeasuredNode) => ({
  containers: [
    node.pods.container({
      script: 'trap "exit 0" TERM; mkdir -p /www; echo fine > /www/index.html; httpd -f -p 8080 -h /www & wait',
      readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 10, failureThreshold: 3 },
      livenessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 10, failureThreshold: 3 },
    }),
  ],
});

async function measurePods(node: MeasuredNode, runtime: string, count: number): Promise<void> {
  const [readyMs, goneMs]: [number[], number[]] = [[], []];
  for (const name of names('warm', 3)) await node.start(name).then(() => node.end(name));
  for (const name of names('one', count)) {
    readyMs.push(await node.start(name));
    goneMs.push(await node.end(name));
  }
  const isOurs = runtime === 'our runtime';
  note(`create → Ready, one at a time, on ${runtime}`, summarise(readyMs), isOurs ? 'p50 ≤ 80 ms, p99 ≤ 160 ms' : '');
  note(`delete → gone, one at a time, on ${runtime}`, summarise(goneMs), isOurs ? 'p50 ≤ 150 ms' : '');
  await tellTimeline(node, runtime);
}

/** Where the time of those starts went: medians of the kubelet's own timelines. */
async function tellTimeline(node: MeasuredNode, runtime: string): Promise<void> {
  const steps = new Map<string, { at: number[]; took: number[] }>();
  for (const { name, steps: list } of await node.timelines()) {
    if (!name.startsWith('one-')) continue;
    const first = new Set<string>();
    for (const { step, atMs, durationMs } of list) {
      if (first.has(step)) continue;
      first.add(step);
      const entry = steps.get(step) ?? { at: [], took: [] };
      entry.at.push(atMs);
      if (durationMs !== undefined) entry.took.push(durationMs);
      steps.set(step, entry);
    }
  }
  const median = (values: number[]) => percentile(values, 0.5);
  const text = [...steps]
    .map(([step, { at, took }]) => ({ step, at: median(at), took: took.length > 0 ? median(took) : undefined }))
    .sort((a, b) => a.at - b.at)
    .map(({ step, at, took }) => `${step} ${format(at)}${took === undefined ? '' : ` (${format(took)})`}`);
  note(`where it goes, on ${runtime}: ended at (took), ms, medians`, text.join(', '));
}

async function measureBursts(node: MeasuredNode): Promise<void> {
  for (const [count, target] of [
    [60, '≤ 3.5 s'],
    [110, '≤ 7 s'],
  ] as const) {
    const all = names(`burst${count}`, count);
    note(`${count} pods at once, all Ready`, `${format((await node.startAll(all)) / 1000)} s`, target);
    note(`${count} pods deleted at once, all gone`, `${format((await node.endAll(all)) / 1000)} s`);
  }
}

async function measureRestarts(node: MeasuredNode): Promise<void> {
  const samples: number[] = [];
  // A second restart would have to wait for its back-off: a pod for each.
  for (const name of names('dies', 20)) {
    await node.start(name);
    samples.push(await node.restart(name));
    await node.end(name);
  }
  note('container died → runs again, status written', summarise(samples), '≤ 120 ms');
}

async function measureConfig(node: MeasuredNode): Promise<void> {
  const map = { metadata: { name: 'config', namespace: 'default' }, data: { key: 'first' } };
  await node.pods.client.create(resources.configmaps, map as never);
  const volume = { volumes: [{ name: 'config', configMap: { name: 'config' } }] };
  const volumeMounts = [{ name: 'config', mountPath: '/config' }];
  await node.start('configured', { ...volume, containers: [node.pods.container({ volumeMounts } as never)] });
  const samples: number[] = [];
  for (let i = 0; i < 20; i++) samples.push(await node.configChange('configured', 'config', `value ${i}`));
  note('change of a ConfigMap → in the pod', summarise(samples), '≤ 1 s');
  await node.end('configured');
}

async function measureIdle(node: MeasuredNode, seconds: number): Promise<void> {
  await sleep(10_000);
  const before = await node.cost();
  await sleep(seconds * 1000);
  const after = await node.cost();
  const share = ((after.cpuSeconds - before.cpuSeconds) / seconds) * 100;
  note('resident memory at 110 pods', `${Math.round(after.residentBytes / 1e6)} MB`, '≤ 110 MB');
  note('CPU at 110 idle pods, two probes each every 10 s', `${format(share)} % of a core over ${seconds} s`, '≤ 3 %');
  for (const path of ['stats/summary', 'metrics/resource', 'metrics/cadvisor', 'metrics']) {
    const [ms, cpu]: [number[], number[]] = [[], []];
    for (let i = 0; i < 6; i++) {
      // What was read is kept for a second.
      await sleep(1100);
      const [cost, from] = [await node.cost(), performance.now()];
      await node.ask(path);
      ms.push(performance.now() - from);
      cpu.push(((await node.cost()).cpuSeconds - cost.cpuSeconds) * 1000);
    }
    const mean = cpu.reduce((sum, one) => sum + one, 0) / cpu.length;
    note(
      `${path} of 110 pods`,
      `${format(percentile(ms, 0.5))} ms, of which about ${format(mean)} ms of CPU in the kubelet`,
    );
  }
}

async function measureKill(node: MeasuredNode, all: readonly string[]): Promise<void> {
  const samples: number[] = [];
  const cpu: number[] = [];
  const flapped = new Set<string>();
  let fromKill = 0;
  for (let i = 0; i < 3; i++) {
    const { ms, cpuMs, fromKillMs, flapped: some } = await node.killKubelet(all);
    samples.push(ms);
    cpu.push(cpuMs);
    fromKill = Math.max(fromKill, fromKillMs);
    for (const one of some) flapped.add(one);
    await sleep(3000);
  }
  const text = `median ${Math.round(percentile(samples, 0.5))} ms after its process began (n=3), with ${Math.round(percentile(cpu, 0.5))} ms of CPU; at most ${Math.round(fromKill)} ms after the kill; ${flapped.size} pods were unready meanwhile`;
  note('killed with 110 pods: all adopted and told Ready', text, '≤ 700 ms, none unready');
}

async function measureMany(node: MeasuredNode, have: number): Promise<void> {
  const more = names('many', 250 - have);
  note(`${more.length} more pods, 250 in all`, `${format((await node.startAll(more, probedSpec(node))) / 1000)} s`);
  await sleep(10_000);
  const before = readHistogram(await node.ask('metrics/probes'), lateness);
  const cost = await node.cost();
  const seconds = 30;
  await sleep(seconds * 1000);
  const { count, above, all } = between(before, readHistogram(await node.ask('metrics/probes'), lateness), 0.3);
  const now = await node.cost();
  const share = ((now.cpuSeconds - cost.cpuSeconds) / seconds) * 100;
  note(
    '250 pods, two probes each every 10 s: lateness of probes',
    `${above} of ${count} more than 300 ms late, all within ${all * 1000} ms; ${format(share)} % of a core, ${Math.round(now.residentBytes / 1e6)} MB`,
    'none more than 300 ms late',
  );
  await node.endAll(more);
}

async function measureOurs(): Promise<void> {
  const fields = { maxPods: 300 };
  await using cluster = await Cluster.withKubelet('benchk', fields, ['--pod-cidr', '10.244.0.0/22']);
  await using registry = await DemoRegistry.start(cluster.namespace);
  const node = await MeasuredNode.enter(cluster, registry.image('v1'));
  if (wants('pods')) await measurePods(node, 'our runtime', 30);
  if (wants('restarts')) await measureRestarts(node);
  if (wants('config')) await measureConfig(node);
  if (wants('bursts')) await measureBursts(node);
  if (['idle', 'kill', 'many'].some(wants)) {
    const all = names('idle', 110);
    await node.startAll(all, probedSpec(node));
    if (wants('idle')) await measureIdle(node, 30);
    if (wants('kill')) await measureKill(node, all);
    if (wants('many')) await measureMany(node, all.length);
    await node.endAll(all);
  }
  await node.pods.stop();
  node.pods.client.close();
}

/** The same pods on Debian's containerd, for what it takes of the time. */
async function measureContainerd(): Promise<void> {
  if (!existsSync('/usr/bin/containerd')) return;
  const podCidr = '10.244.0.0/24';
  await using cluster = await Cluster.create('benchc');
  const { namespace, dataDirectory } = cluster;
  const image = 'example.test/box:v1';
  await using containerd = await Containerd.start(namespace, { podCidr, pauseImage: image });
  const layer = makeLayer(await busyboxEntries(['sh', 'sleep']), { family: 'docker' });
  const config = { Env: ['PATH=/bin'], Cmd: ['sleep', '2147483647'] };
  const box = makeImage([layer], { config, family: 'docker' });
  const archive = join(dataDirectory, 'box.tar');
  await writeFile(archive, packFiles(dockerArchiveFiles([{ image: box, names: [image] }])));
  const { status, stderr } = await containerd.ctr('images', 'import', archive);
  if (status !== 0) throw new Error(stderr);
  for (const argv of [
    ['link', 'add', 'cni0', 'type', 'bridge'],
    ['address', 'add', '10.244.0.1/24', 'dev', 'cni0'],
    ['link', 'set', 'cni0', 'up'],
  ])
    await namespace.output(['ip', ...argv]);
  await cluster.up(['--runtime-endpoint', containerd.endpoint, '--pod-cidr', podCidr, '--place', 'kubelet=process']);
  const node = await MeasuredNode.enter(cluster, image);
  await measurePods(node, "Debian's containerd", 15);
  await node.pods.stop();
  node.pods.client.close();
  await cluster.down().catch(() => {});
}

const ours = ['pods', 'bursts', 'restarts', 'config', 'idle', 'kill', 'many'];
if (ours.some(wants)) await measureOurs();
if (wants('containerd')) await measureContainerd();
process.exit(0);
