import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, pollUntil } from '../async/index.ts';
import type { ApiClient } from '../client/index.ts';
import type { Logger } from '../log/index.ts';
import { findNodeIp } from './addresses.ts';
import { componentArguments, configurationFiles, kubeletDropIns } from './arguments.ts';
import { connect, preparePki, waitForReadyNode } from './cluster-access.ts';
import { type ComponentName, componentNames } from './component-module.ts';
import { type ControlServer, serveControl } from './control.ts';
import {
  commandLine,
  dataVersion,
  type InstanceRecord,
  instancePaths,
  isRunning,
  ownLauncher,
  ownNetworkNamespace,
  processStartTicks,
  readInstance,
  removeInstance,
  writeInstance,
} from './instance.ts';
import { checkPorts } from './ports.ts';
import { deployAsDaemonSet, findProxyImage } from './proxy-daemonset/place-proxy.ts';
import { findObstacles, missing, requirements } from './requirements.ts';
import { hasSandboxes, mountState, unmountState } from './state-mount.ts';
import { Supervisor } from './supervisor.ts';
import type { UpOptions } from './up-options.ts';

/** What `up` tells whoever watches. */
export interface UpEvents {
  /** A component changed or the node became Ready; times are milliseconds since the start. */
  onProgress: (what: string, ms: number) => void;
  /** A line that a component wrote. */
  onOutput: (component: ComponentName, line: string) => void;
}

/** What a start is given. */
export interface StartContext {
  log: Logger;
  clock: Clock;
  /** It is started only to be ended in order: what runs as pods is not seen to. */
  ending?: boolean;
}

/** A running instance. */
export interface Instance {
  record: InstanceRecord;
  client: ApiClient;
  /** Milliseconds from the call of startInstance to the node being Ready. */
  readyMs: number;
  /** Resolves when someone asks for its end through the control socket. */
  stopAsked: Promise<{ keepPods: boolean }>;
  stop(options: { keepPods: boolean }): Promise<void>;
}

/** Why an instance cannot be started, in one sentence; checked before anything is touched. */
async function checkStart(options: UpOptions): Promise<void> {
  const obstacles = findObstacles();
  if (obstacles.length > 0) throw new Error(obstacles.join('; '));
  const absent = missing(requirements);
  if (absent.length > 0)
    throw new Error(`${absent.map(({ program }) => program).join(', ')} not found: run 'deckhand setup' first`);
  const socket = options.runtimeEndpoint?.replace('unix://', '');
  if (socket && !existsSync(socket))
    throw new Error(`there is no runtime at ${options.runtimeEndpoint}: start it first, or correct --runtime-endpoint`);
  const existing = await readInstance(options.dataDirectory);
  if (existing && isRunning(existing)) {
    throw new Error(
      `an instance with data directory ${options.dataDirectory} runs already (pid ${existing.pid}): use 'deckhand down' first, or another --data-dir`,
    );
  }
}

/** Starts everything and waits until the node is Ready. What was started is stopped again when that fails. */
export async function startInstance(options: UpOptions, context: StartContext, events: UpEvents): Promise<Instance> {
  const { clock } = context;
  const started = clock.monotonic();
  const since = () => Math.round(clock.monotonic() - started);
  await checkStart(options);
  await waitForOrphans(options, clock);
  await checkPorts(options);
  const adopts = await hasSandboxes(instancePaths(options.dataDirectory).runtimeState);
  const nodeIp = findNodeIp(options.podCidr);
  await prepareDirectories(options);
  await preparePki(options, nodeIp, clock);
  events.onProgress('certificates ready', since());
  const record = newRecord(options, nodeIp, clock);
  await writeInstance(options.dataDirectory, record);
  const { supervisor, flush } = createSupervisor(options, record, context, events);
  let control: ControlServer | undefined;
  try {
    if (options.runtimeEndpoint === undefined) await mountState(instancePaths(options.dataDirectory).runtimeState);
    const client = await connect(options.dataDirectory, context);
    const deploys = options.proxy === 'daemonset' && !context.ending;
    let image: Promise<string> | undefined;
    await startComponents(options, supervisor, { nodeIp, client, clock }, (name) => {
      events.onProgress(`${name} serves`, since());
      if (name === 'runtime' && deploys) image = findProxyImage(options, clock);
      image?.catch(() => {});
    });
    control = await serveControl(instancePaths(options.dataDirectory).control, () => record);
    await waitForReadyNode(client, options.nodeName, clock);
    if (deploys) {
      await deployAsDaemonSet(options, await (image ?? findProxyImage(options, clock)), { nodeIp, client, clock });
      events.onProgress('proxy serves, as a DaemonSet', since());
    }
    const readyMs = since();
    record.readyAt = new Date(clock.now()).toISOString();
    await flush();
    return {
      record,
      client,
      readyMs,
      stopAsked: control.stopAsked,
      stop: async ({ keepPods }) => {
        await stopComponents(options, supervisor, keepPods, context);
        await control?.close();
        await flush();
        await removeInstance(options.dataDirectory);
      },
    };
  } catch (error) {
    // Pods of the last start stay as they are, and so does the record by which `down` finds them.
    await stopComponents(options, supervisor, adopts, context).catch(() => {});
    await unmountState(instancePaths(options.dataDirectory).runtimeState).catch(() => {});
    await control?.close();
    await flush();
    if (!adopts) await removeInstance(options.dataDirectory);
    throw error;
  }
}

function newRecord(options: UpOptions, nodeIp: string, clock: Clock): InstanceRecord {
  const paths = instancePaths(options.dataDirectory);
  const launcher = ownLauncher();
  return {
    version: dataVersion,
    pid: process.pid,
    startTicks: processStartTicks(process.pid) ?? 0,
    ...(launcher ? { launcher } : {}),
    networkNamespace: ownNetworkNamespace(),
    nodeName: options.nodeName,
    nodeIp,
    server: `https://127.0.0.1:${options.listen.port}`,
    kubeconfig: paths.kubeconfig,
    startedAt: new Date(clock.now()).toISOString(),
    options: { ...options },
    components: [],
  };
}

function createSupervisor(
  options: UpOptions,
  record: InstanceRecord,
  context: { log: Logger; clock: Clock },
  events: UpEvents,
): { supervisor: Supervisor; flush: () => Promise<void> } {
  // One write at a time, the latest state last.
  let writing = Promise.resolve();
  const flush = (): Promise<void> => {
    writing = writing.then(() => writeInstance(options.dataDirectory, record)).catch(() => {});
    return writing;
  };
  const supervisor = new Supervisor({
    ...context,
    place: (name) => options.place[name],
    onOutput: events.onOutput,
    onChange: (components) => {
      record.components = components;
      void flush();
    },
  });
  return { supervisor, flush };
}

/**
 * All components at once: those that need another wait for it by themselves. Only the proxy waits where an earlier start had
 * it as a DaemonSet, until that one is gone.
 */
async function startComponents(
  options: UpOptions,
  supervisor: Supervisor,
  { nodeIp, client, clock }: { nodeIp: string; client: ApiClient; clock: Clock },
  onReady: (name: ComponentName) => void,
): Promise<void> {
  const start = async (name: ComponentName): Promise<void> => {
    await supervisor.start(name, componentArguments(name, options, nodeIp));
    onReady(name);
  };
  const retires = options.proxy !== 'daemonset' && existsSync(instancePaths(options.dataDirectory).proxyImage);
  const late = (name: ComponentName): boolean => name === 'proxy' && retires;
  const wanted = componentNames.filter((name) => !isForeign(name, options));
  await Promise.all(wanted.filter((name) => !late(name)).map(start));
  if (retires) {
    const { retireProxy } = await import('./proxy-daemonset/deploy.ts');
    await retireProxy(options.dataDirectory, client, clock);
    await Promise.all(wanted.filter(late).map(start));
  }
}

/** Whether something else than a component of ours does the work: another runtime, or a proxy in a pod. */
function isForeign(name: ComponentName, { runtimeEndpoint, proxy = 'component' }: UpOptions): boolean {
  return (name === 'runtime' && runtimeEndpoint !== undefined) || (name === 'proxy' && proxy !== 'component');
}

/**
 * Ends the components in the order in which nothing is made anew: who creates pods first, then the kubelet (which,
 * unless pods are kept, stops and removes them), the runtime, the proxy, and the API server last.
 */
async function stopComponents(
  options: UpOptions,
  supervisor: Supervisor,
  keepPods: boolean,
  context: StartContext,
): Promise<void> {
  const remove = !keepPods;
  await Promise.all([supervisor.stop('controllers'), supervisor.stop('scheduler')]);
  await supervisor.stop('kubelet', { remove });
  await supervisor.stop('runtime', { remove });
  await Promise.all([supervisor.stop('proxy', { remove }), supervisor.stop('dns')]);
  // A proxy that ends leaves its rules, for the next one; there is none now.
  if (remove && options.proxy === 'daemonset') await (await import('../proxy/index.ts')).removeProxyRules(context);
  await supervisor.stop('apiserver');
  if (remove) await cleanCgroups(options);
  await unmountState(instancePaths(options.dataDirectory).runtimeState);
}

async function cleanCgroups(options: UpOptions): Promise<void> {
  const [{ removeCgroupTree }, { cgroupRoot }] = await Promise.all([
    import('../host/cgroups/index.ts'),
    import('./arguments.ts'),
  ]);
  await removeCgroupTree(cgroupRoot(options.dataDirectory));
}

async function prepareDirectories(options: UpOptions): Promise<void> {
  const paths = instancePaths(options.dataDirectory);
  for (const directory of [paths.store, paths.kubelet, paths.runtime, paths.config]) {
    await mkdir(directory, { recursive: true, mode: 0o711 });
  }
  for (const directory of [paths.manifests, paths.podLogs, paths.containerLogs])
    await mkdir(directory, { recursive: true, mode: 0o755 });
  for (const [name, content] of Object.entries(configurationFiles(options))) {
    const file = join(paths.config, name);
    // JSON is YAML too, and needs no library here.
    await writeFile(`${file}.new`, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
    await rename(`${file}.new`, file);
  }
  await keepKubeletConfig(options, join(paths.config, kubeletDropIns));
}

/** Keeps what --kubelet-config names as a drop-in, so that the kubelet can be started anew whatever becomes of the file. */
async function keepKubeletConfig({ kubeletConfig }: UpOptions, directory: string): Promise<void> {
  const text = kubeletConfig && (await readFile(kubeletConfig).catch(wrapped(`--kubelet-config ${kubeletConfig}`)));
  await rm(directory, { recursive: true, force: true });
  if (!text) return;
  await mkdir(directory, { mode: 0o700 });
  await writeFile(join(directory, '10-user.conf'), text, { mode: 0o600 });
}

function wrapped(subject: string): (error: Error) => never {
  return (error) => {
    throw new Error(`cannot read ${subject}: ${error.message}`);
  };
}

/** After a kill of the supervisor its components end by themselves; wait for that, because they hold ports and sockets. */
async function waitForOrphans(options: UpOptions, clock: Clock): Promise<void> {
  const existing = await readInstance(options.dataDirectory);
  if (!existing) return;
  const pids = existing.components.filter(({ place }) => place === 'process').map(({ pid }) => pid);
  await pollUntil('the end of the components of the last start', () => pids.every((pid) => !isComponent(pid)), {
    timeoutMs: 15_000,
    clock,
  });
}

function isComponent(pid: number): boolean {
  return processStartTicks(pid) !== undefined && commandLine(pid).includes('--supervised');
}
