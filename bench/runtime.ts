/**
 * What each step of a pod costs in the runtime, with the OCI runtime's own share (the floor) beside it.
 *
 * Usage: node bench/runtime.ts [PODS], as root
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NamespaceMode, RuntimeService } from '../src/api/cri/index.ts';
import { createGrpcClient } from '../src/wire/grpc/index.ts';
import { busyboxEntries, layoutFiles, makeImage, makeLayer, writeFiles } from '../test/support/images.ts';
import { NetworkNamespace } from '../test/support/network-namespace.ts';
import { output, run } from '../test/support/processes.ts';
import { summarise } from './statistics.ts';

const count = Number(process.argv[2] ?? 20);
const base = await mkdtemp(join(tmpdir(), 'dh-bench-'));
const samples = new Map<string, number[]>();

async function measure<T>(step: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  const list = samples.get(step) ?? [];
  samples.set(step, [...list, performance.now() - start]);
  return result;
}

/** `runc create` and `runc start` of the same command, with runc's own default configuration. */
async function measureFloor(): Promise<void> {
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
  for (let index = 0; index < Math.min(count, 10); index++) {
    await measure('runc alone: create', () => output(runc('create', '--bundle', bundle, `floor${index}`)));
    await measure('runc alone: start', () => output(runc('start', `floor${index}`)));
    await run(runc('delete', '--force', `floor${index}`));
  }
}

async function measurePods(socket: string): Promise<void> {
  const cri = createGrpcClient(RuntimeService, socket);
  const namespaceOptions = { pid: NamespaceMode.CONTAINER };
  for (let index = 0; index < count; index++) {
    const config = {
      metadata: { name: `pod${index}`, namespace: 'bench', uid: `uid${index}`, attempt: 0 },
      hostname: `pod${index}`,
      logDirectory: join(base, 'logs'),
      linux: { securityContext: { namespaceOptions } },
    };
    const container = {
      metadata: { name: 'main', attempt: 0 },
      image: { image: 'busybox' },
      command: ['sleep', '1000'],
      logPath: `pod${index}.log`,
      linux: { securityContext: { namespaceOptions, seccomp: {} } },
    };
    const { podSandboxId, containerId } = await measure('sandbox + create + start', async () => {
      const { podSandboxId } = await measure('RunPodSandbox', () => cri.runPodSandbox({ config }));
      const request = { podSandboxId, config: container, sandboxConfig: config };
      const { containerId } = await measure('CreateContainer', () => cri.createContainer(request));
      await measure('StartContainer', () => cri.startContainer({ containerId }));
      return { podSandboxId, containerId };
    });
    await measure('ExecSync of true', () => cri.execSync({ containerId, cmd: ['true'], timeout: 10n }));
    await measure('StopContainer', () => cri.stopContainer({ containerId, timeout: 0n }));
    await measure('RemoveContainer', () => cri.removeContainer({ containerId }));
    await measure('StopPodSandbox', () => cri.stopPodSandbox({ podSandboxId }));
    await measure('RemovePodSandbox', () => cri.removePodSandbox({ podSandboxId }));
  }
  cri.close();
}

const namespace = await NetworkNamespace.create('bench');
try {
  const image = makeImage([makeLayer(await busyboxEntries(['sleep', 'true', 'sh']))], {
    config: { Env: ['PATH=/bin'] },
  });
  await writeFiles(join(base, 'layout'), layoutFiles([{ image }]));
  const socket = join(base, 'cri.sock');
  const settings = JSON.stringify({
    listen: socket,
    root: join(base, 'root'),
    state: join(base, 'state'),
    podCidr: '10.98.0.0/24',
    bridgeName: 'dhbench0',
    cgroupParent: `/deckhand-bench-${process.pid}`,
  });
  const script = join(import.meta.dirname, '../test/support/runtime-process.ts');
  const argv = [...namespace.enter().slice(1), process.execPath, script, settings, join(base, 'layout'), 'busybox'];
  const runtime = spawn(namespace.enter()[0]!, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => runtime.once('exit', resolve));
  await Promise.race([new Promise((resolve) => runtime.stdout.once('data', resolve)), ended]);
  try {
    await measurePods(socket);
  } finally {
    runtime.kill('SIGUSR2');
    await ended;
  }
  await measureFloor();
} finally {
  await namespace[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
}
const targets: Record<string, string> = {
  'sandbox + create + start': 'p50 ≤ 60 ms, p99 ≤ 120 ms',
  'ExecSync of true': '≤ 45 ms',
};
const figures = [...samples].map(([step, list]) => ({
  what: `Runtime: ${step}`,
  result: summarise(list),
  target: targets[step] ?? '',
}));
for (const figure of figures) process.stdout.write(`${JSON.stringify(figure)}\n`);
