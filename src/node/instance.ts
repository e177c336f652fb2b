import { readFileSync, readlinkSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Layout version of a data directory. A directory of a newer version is refused. */
export const dataVersion = 1;

/** What is known of a component of a running instance. */
export interface ComponentRecord {
  name: string;
  /** Where it runs: its own process, a thread of the supervisor, or the supervisor's main thread. */
  place: 'process' | 'thread' | 'inline';
  pid: number;
  restarts: number;
  state: 'starting' | 'running' | 'restarting' | 'stopped';
}

/** A running (or once running) instance, as its data directory describes it. */
export interface InstanceRecord {
  version: number;
  /** The supervisor. */
  pid: number;
  /** Start time of the supervisor in clock ticks since boot: a pid alone may be another process by now. */
  startTicks: number;
  /** The launcher that starts the supervisor again when it was killed; undefined when it was started without one. */
  launcher?: { pid: number; startTicks: number };
  /** Inode of the network namespace it runs in. */
  networkNamespace: string;
  nodeName: string;
  nodeIp: string;
  server: string;
  kubeconfig: string;
  startedAt: string;
  readyAt?: string;
  /** How the last start was configured: `down` and a later `up` need it to find what is there. */
  options: Record<string, unknown>;
  components: ComponentRecord[];
}

/** Paths inside a data directory. */
export function instancePaths(dataDirectory: string) {
  return {
    record: join(dataDirectory, 'instance.json'),
    control: join(dataDirectory, 'control.sock'),
    log: join(dataDirectory, 'deckhand.log'),
    pki: join(dataDirectory, 'pki'),
    store: join(dataDirectory, 'store'),
    kubeconfig: join(dataDirectory, 'admin.conf'),
    kubelet: join(dataDirectory, 'kubelet'),
    localPath: join(dataDirectory, 'local-path'),
    proxyImage: join(dataDirectory, 'proxy-image.json'),
    runtime: join(dataDirectory, 'runtime'),
    runtimeState: join(dataDirectory, 'runtime/state'),
    manifests: join(dataDirectory, 'manifests'),
    podLogs: join(dataDirectory, 'logs', 'pods'),
    containerLogs: join(dataDirectory, 'logs', 'containers'),
    config: join(dataDirectory, 'config'),
  };
}

/** The record of the instance in a data directory; undefined when there is none. @throws Error when it is of a newer version or not readable */
export async function readInstance(dataDirectory: string): Promise<InstanceRecord | undefined> {
  const { record } = instancePaths(dataDirectory);
  let text: string;
  try {
    text = await readFile(record, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let parsed: InstanceRecord;
  try {
    parsed = JSON.parse(text) as InstanceRecord;
  } catch (cause) {
    throw new Error(
      `${record} is damaged; move it away to start with a new record (pods are found again through the runtime)`,
      { cause },
    );
  }
  if (parsed.version > dataVersion) {
    throw new Error(
      `data directory ${dataDirectory} was written by a newer deckhand (layout ${parsed.version}, this one knows ${dataVersion}); update deckhand or name another --data-dir`,
    );
  }
  return parsed;
}

/** Writes the record atomically. */
export async function writeInstance(dataDirectory: string, instance: InstanceRecord): Promise<void> {
  const { record } = instancePaths(dataDirectory);
  await mkdir(dataDirectory, { recursive: true, mode: 0o711 });
  const temporary = `${record}.${process.pid}`;
  await writeFile(temporary, `${JSON.stringify(instance, null, 2)}\n`, { mode: 0o600 });
  await rename(temporary, record);
}

/** Takes the record away; the data stays. */
export async function removeInstance(dataDirectory: string): Promise<void> {
  const { record, control } = instancePaths(dataDirectory);
  await rm(record, { force: true });
  await rm(control, { force: true });
}

/** Start time of a process in clock ticks since boot; undefined when it does not exist (or is a zombie). */
export function processStartTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

/** The command line of a process, words separated by spaces; empty when it does not exist. */
export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

/** The launcher of this process, if it has one (bin/deckhand, which starts a killed instance again). */
export function ownLauncher(): { pid: number; startTicks: number } | undefined {
  const pid = process.ppid;
  const startTicks = processStartTicks(pid);
  return startTicks !== undefined && /\bdeckhand up\b/.test(commandLine(pid)) ? { pid, startTicks } : undefined;
}

/** Whether the supervisor of the record still runs. */
export function isRunning(instance: InstanceRecord): boolean {
  return processStartTicks(instance.pid) === instance.startTicks;
}

/** The network namespace of this process, as `net:[4026531840]`. */
export function ownNetworkNamespace(): string {
  return readlinkSync('/proc/self/ns/net');
}
