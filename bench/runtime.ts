/**
 * What the runtime costs: each step of a pod with Debian's containerd beside it and the OCI runtime's own share (the
 * floor) below it, sixty pods at once, a hundred idle ones, restarts. Prints a line of JSON a figure.
 *
 * Usage: node bench/runtime.ts [PODS] [--cycles N], as root. With --cycles it only makes and removes N pods and counts
 * what is left.
 */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { RuntimeService } from '../src/api/cri/index.ts';
import { createGrpcClient } from '../src/wire/grpc/index.ts';
import { Containerd } from '../test/support/containerd.ts';
import {
  busyboxEntries,
  dockerArchiveFiles,
  layoutFiles,
  makeImage,
  makeLayer,
  packFiles,
  writeFiles,
} from '../test/support/images.ts';
import { NetworkNamespace } from '../test/support/network-namespace.ts';
import { output, run } from '../test/support/processes.ts';
import { measureCycles } from './runtime/cycles.ts';
import { DeckhandRuntime } from './runtime/deckhand-runtime.ts';
import { measureBurst, measureOneByOne, type Peer, runPod } from './runtime/pods.ts';
import { format, percentile, summarise } from './statistics.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cycles: { type: 'string' } },
});
const count = Number(positionals[0] ?? 40);
const base = await mkdtemp(join(tmpdir(), 'dh-bench-'));
const image = makeImage([makeLayer(await busyboxEntries(['sleep', 'true', 'sh']), { family: 'docker' })], {
  config: { Env: ['PATH=/bin'], Cmd: ['sleep', '2147483647'] },
  family: 'docker',
});

const targets: Record<string, string> = {
  'sandbox + create + start': 'p50 ≤ 60 ms, p99 ≤ 120 ms',
  'stop and remove': 'p50 ≤ 40 ms',
  'ExecSync of true': '≤ 45 ms',
};

function note(what: string, result: string, target = ''): void {
  process.stdout.write(`${JSON.stringify({ what: `Runtime: ${what}`, result, target })}\n`);
}

/** `runc create` and `runc start` of the same command, with runc's own default configuration. */
async function measureFloor(samples: Map<string, number[]>): Promise<void> {
  const bundle = join(base, 'floor');
  await mkdir(bundle);
  await output(['runc', 'spec', '--bundle', bundle]);
  const spec = JSON.parse(await output(['cat', join(bundle, 'config.json')]));
  spec.process.terminal = false;
  spec.process.args = ['/bin/sleep', '1000'];
  spec.linux.cgroupsPath = `/deckhand-bench-${process.pid}-floor`;
  await writeFile(join(bundle, 'config.json'), JSON.stringify(spec));
  await mkdir(join(bundle, 'rootfs/bin'), { recursive: true });
  await output(['cp', '/bin/busybox', join(bundle, 'rootfs/bin/sleep')]);
  const runc = (...argv: string[]) => [
    'sh',
    '-c',
    `exec runc --root ${base}/runc ${argv.join(' ')} </dev/null >/dev/null 2>&1`,
  ];
  const timed = async (name: string, argv: string[]): Promise<void> => {
    const start = performance.now();
    await output(argv);
    samples.set(name, [...(samples.get(name) ?? []), performance.now() - start]);
  };
  for (let index = 0; index < Math.min(count, 20); index++) {
    await timed('create', runc('create', '--bundle', bundle, `floor${index}`));
    await timed('start', runc('start', `floor${index}`));
    await run(runc('delete', '--force', `floor${index}`));
  }
}

async function startContainerd(namespace: NetworkNamespace): Promise<Containerd | undefined> {
  if (!existsSync('/usr/bin/containerd')) return undefined;
  const names = ['example.test/busybox:v1'];
  const containerd = await Containerd.start(namespace, { podCidr: '10.96.0.0/22', pauseImage: names[0]! });
  const file = join(base, 'images.tar');
  await writeFile(file, packFiles(dockerArchiveFiles([{ image, names }])));
  const { status, stderr } = await containerd.ctr('images', 'import', file);
  if (status !== 0) throw new Error(`containerd takes no image: ${stderr}`);
  return containerd;
}

function tellSteps(peer: Peer): void {
  for (const [step, list] of peer.samples)
    note(`${step}${peer.name}`, summarise(list), peer.name === '' ? (targets[step] ?? '') : '');
}

function tellRatio(ours: Peer, theirs: Peer): void {
  for (const step of ['sandbox + create + start', 'stop and remove']) {
    const p50 = (peer: Peer) => percentile(peer.samples.get(step) ?? [], 0.5);
    const target = step.startsWith('sandbox') ? '≥ 3.5 times' : '';
    note(`${step}, containerd's p50 over ours`, `${format(p50(theirs) / p50(ours))} times`, target);
  }
}

/** All containers' statistics, asked once a second as a kubelet's housekeeping does at its busiest. */
async function measureStats({ cri }: Peer): Promise<void> {
  const samples = new Map<string, number[]>([
    ['ListContainerStats', []],
    ['ListPodSandboxStats', []],
  ]);
  for (let round = 0; round < 15; round++) {
    for (const [name, list] of samples) {
      const start = performance.now();
      await (name === 'ListContainerStats' ? cri.listContainerStats({}) : cri.listPodSandboxStats({}));
      list.push(performance.now() - start);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  // The first look measures what the containers wrote; it is told apart.
  for (const [name, [first, ...rest]] of samples) {
    const target = name === 'ListContainerStats' ? '< 10 ms' : '';
    note(`${name} of 100, at the client`, `${summarise(rest)}; the first ${format(first!)} ms`, target);
  }
}

async function measureIdle(runtime: DeckhandRuntime, peer: Peer): Promise<void> {
  const samples = { ...peer, samples: new Map() };
  for (let made = 0; made < 100; made += 10) await Promise.all(Array.from({ length: 10 }, () => runPod(samples)));
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  const [before, seconds] = [runtime.cpuMs(), 20];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  note('100 idle pods, CPU', `${format((runtime.cpuMs() - before) / (seconds * 10))} % of a core`, '< 0.3 %');
  const { runtimeMb, monitors, monitorsMb, monitorsShareMb } = runtime.memory();
  note('100 idle pods, resident memory of the runtime', `${Math.round(runtimeMb)} MB`, '≤ 90 MB');
  const each = `${format(monitorsMb / monitors)} MB, ${format(monitorsShareMb / monitors)} MB without what they share`;
  note('100 idle pods, resident memory of a monitor', each, '≤ 2 MB');
  await measureStats(peer);
}

/** Killed and started again, with what is there. */
async function measureRestarts(runtime: DeckhandRuntime, pods: number): Promise<void> {
  const times: number[] = [];
  for (let index = 0; index < 7; index++) {
    await runtime.end('SIGKILL');
    times.push(await runtime.start());
  }
  const { containers } = await runtime.cri.listContainers({});
  if (containers.filter(({ state }) => state === 1).length !== pods) throw new Error('containers were lost');
  const what = `killed with ${pods} running containers, process start → a call is answered`;
  note(what, `median ${format(percentile(times, 0.5))} ms, least ${format(Math.min(...times))} ms`, '< 300 ms');
}

const namespace = await NetworkNamespace.create('bench');
const runtime = new DeckhandRuntime(namespace, base);
let containerd: Containerd | undefined;
try {
  await writeFiles(join(base, 'layout'), layoutFiles([{ image }]));
  await runtime.prepare(join(base, 'layout'));
  await runtime.start();
  const peerOf = (name: string, cri: Peer['cri'], reference: string): Peer => {
    return { name, cri, image: reference, logs: join(base, `logs${name.replace(/\W/g, '')}`), samples: new Map() };
  };
  const ours = () => peerOf('', runtime.cri, 'busybox');
  if (values.cycles) {
    const figures = await measureCycles(runtime, ours(), namespace, Number(values.cycles));
    for (const { what, result } of figures) note(what, result);
  } else {
    containerd = await startContainerd(namespace);
    const first = ours();
    const client = containerd && createGrpcClient(RuntimeService, containerd.endpoint.replace(/^unix:\/\//, ''));
    const theirs = client && peerOf(', containerd', client, 'example.test/busybox:v1');
    const peers = [first, ...(theirs ? [theirs] : [])];
    // The first pod of each makes the bridge.
    await measureOneByOne(peers, 2);
    for (const { samples } of peers) samples.clear();
    await measureOneByOne(peers, count);
    for (const peer of peers) tellSteps(peer);
    if (theirs) tellRatio(first, theirs);
    const floor = new Map<string, number[]>();
    await measureFloor(floor);
    for (const [step, list] of floor) note(`runc alone: ${step}`, summarise(list));
    for (const peer of peers) {
      const { runSeconds, goneSeconds } = await measureBurst(peer, 60);
      note(`60 pods at once, all run${peer.name}`, `${format(runSeconds)} s`, peer === first ? '≤ 3.5 s' : '');
      note(`60 pods removed at once${peer.name}`, `${format(goneSeconds)} s`);
    }
    client?.close();
    await containerd?.[Symbol.asyncDispose]();
    containerd = undefined;
    await measureRestarts(runtime, 0);
    await measureIdle(runtime, ours());
    await measureRestarts(runtime, 100);
  }
} finally {
  const { items } = await runtime.cri.listPodSandbox({});
  await Promise.all(items.map(({ id }) => runtime.cri.removePodSandbox({ podSandboxId: id })));
  await runtime.end('SIGTERM');
  await containerd?.[Symbol.asyncDispose]();
  await namespace[Symbol.asyncDispose]();
  await run(['sh', '-c', `find /sys/fs/cgroup -depth -type d -path '*${runtime.cgroupParent}*' -exec rmdir {} +`]);
  await rm(base, { recursive: true, force: true });
}
