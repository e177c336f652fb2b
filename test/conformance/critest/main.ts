/**
 * Runs critest (kubernetes-sigs/cri-tools), all its specs, against a fresh runtime in a network namespace of its own, with
 * every image that it asks for built from Debian packages. Ends with critest's exit status.
 *
 * Usage: CRITEST=/path/to/critest [CRITEST_RUNTIME=containerd|docker] npm run test:critest [-- CRITEST_FLAGS]; see docs/critest.md.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants as system, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { Containerd } from '../../support/containerd.ts';
import { CriDocker } from '../../support/cri-docker.ts';
import { criImageNames, criRegistries } from '../../support/cri-images.ts';
import { CriRegistry } from '../../support/cri-registry.ts';
import { CriRuntime } from '../../support/cri-runtime.ts';
import { DockerEngine } from '../../support/docker-engine.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';
import { benchmarkFlags, printBenchmarks } from './benchmark.ts';

/** Specs that no runtime can pass here, each with its reason. */
const impossible = [
  {
    name: 'public image with digest should be pulled and removed',
    reason: 'it names an image by the digest of bytes that only its publisher has',
  },
];

const critest = process.env['CRITEST'];
if (!critest) throw new Error('CRITEST is not set: see tools/critest.sh, which starts this');
const runtimeName = process.env['CRITEST_RUNTIME'] || 'deckhand';
if (!['deckhand', 'containerd', 'docker'].includes(runtimeName)) {
  console.error(
    `CRITEST_RUNTIME is ${runtimeName}: it is deckhand (the default), docker (cri-docker) or containerd, the control`,
  );
  process.exit(2);
}
process.exitCode = await main(critest, process.argv.slice(2));

async function main(program: string, given: readonly string[]): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort(signal));
  const directory = await mkdtemp(join(tmpdir(), 'dh-critest-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const namespace = stack.use(await NetworkNamespace.create('critest'));
  console.log('building images');
  const registry = stack.use(await CriRegistry.start(namespace));
  const runtime = stack.use(
    await (runtimeName === 'docker' ? startDocker(namespace, registry, stack) : startRuntime(namespace, registry)),
  );
  const benchmark = given.some((flag) => /^--?benchmark(=true)?$/.test(flag));
  const flags = [
    `--runtime-endpoint=${runtime.endpoint}`,
    `--image-endpoint=${runtime.endpoint}`,
    ...impossible.map(({ name }) => `--ginkgo.skip=${name}`),
    ...(benchmark ? await benchmarkFlags(directory, given) : []),
    ...given,
  ];
  if (!benchmark) for (const { name, reason } of impossible) console.log(`left out: ${name}: ${reason}`);
  const status = await runCritest([...namespace.enter(), program, ...flags], directory, stop.signal);
  if (benchmark) await printBenchmarks(flags);
  return status;
}

/**
 * Ours, with its log in the file that CRITEST_RUNTIME_LOG names, and more configuration from the one that
 * CRITEST_RUNTIME_CONFIG names; or the control, Debian's containerd.
 */
async function startRuntime(namespace: NetworkNamespace, registry: CriRegistry): Promise<CriRuntime | Containerd> {
  if (runtimeName === 'containerd') {
    const mirrors = Object.fromEntries(registry.mirrors().map((rule) => [rule.registry, rule.mirrors![0]!]));
    return Containerd.start(namespace, { podCidr: '10.98.0.0/24', pauseImage: criImageNames.pause, mirrors });
  }
  const more = process.env['CRITEST_RUNTIME_CONFIG'];
  const configuration = more ? (parse(await readFile(more, 'utf8')) as Record<string, unknown>) : {};
  const log = process.env['CRITEST_RUNTIME_LOG'];
  const file = log ? createWriteStream(log) : undefined;
  return CriRuntime.start(namespace, {
    mirrors: registry.mirrors(),
    configuration,
    ...(file ? { onLog: (line: string) => void file.write(`${line}\n`) } : {}),
  });
}

/** Our adapter over Debian's Docker Engine. */
async function startDocker(
  namespace: NetworkNamespace,
  registry: CriRegistry,
  stack: AsyncDisposableStack,
): Promise<CriDocker> {
  const insecure = [...criRegistries, registry.host];
  const engine = stack.use(await DockerEngine.start(namespace, { proxy: `http://${registry.host}`, insecure }));
  return CriDocker.start(namespace, engine, '10.98.0.0/24');
}

async function runCritest(argv: readonly string[], directory: string, signal: AbortSignal): Promise<number> {
  if (signal.aborted) return 130;
  const child = spawn(argv[0]!, argv.slice(1), { stdio: 'inherit', env: { ...process.env, TMPDIR: directory } });
  // From a terminal it has had the signal too; it then removes its pods in its own time.
  signal.addEventListener('abort', () => child.kill(signal.reason as NodeJS.Signals));
  const [code, killed] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + (killed ? system.signals[killed] : 0);
}
