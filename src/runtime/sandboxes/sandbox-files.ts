import { appendFile, chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { DNSConfig } from '../../api/cri/index.ts';
import { toHostId } from '../../host/namespaces/index.ts';
import { calls } from '../../host/system-calls/index.ts';
import type { SandboxMounts } from '../containers/spec/mounts.ts';
import type { RuntimeContext } from '../context.ts';
import { unlessMissing } from '../errors.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { sandboxRecordDirectory } from '../store/store.ts';
import { hostResolvConf } from './host-resolv-conf.ts';

const shmBytes = 64 * 1024 * 1024;

/** What tells where a sandbox's files are. */
type Places = Pick<RuntimeContext, 'paths' | 'settings'>;

/**
 * Where the files are that a sandbox's containers see. Those that containers may write to are with the record: one that
 * fills its files must not take the room of the state directory, which may be small, from all others.
 */
export function sandboxMounts({ paths, settings }: Places, record: SandboxRecord): SandboxMounts {
  const directory = sandboxRecordDirectory(settings.root, record.id);
  return {
    resolvConf: join(directory, 'resolv.conf'),
    hostname: join(directory, 'hostname'),
    hosts: join(directory, 'hosts'),
    // With the host's IPC namespace comes the host's shared memory.
    shm: record.namespaces.ipc ? join(paths.sandbox(record.id), 'shm') : '/dev/shm',
  };
}

/** Writes them, and mounts the sandbox's shared memory. */
export async function writeSandboxFiles(places: Places, record: SandboxRecord): Promise<void> {
  const files = sandboxMounts(places, record);
  const { dnsConfig } = record.config;
  const [resolvConf] = await Promise.all([
    dnsConfig && hasDns(dnsConfig) ? renderResolvConf(dnsConfig) : hostResolvConf(),
    record.namespaces.ipc ? mkdir(files.shm, { recursive: true, mode: 0o1777 }) : undefined,
  ]);
  await Promise.all([
    writeFile(files.resolvConf, resolvConf),
    writeFile(files.hostname, `${record.config.hostname || hostname()}\n`),
    writeFile(files.hosts, await hostsFile(record)),
  ]);
  const { userMapping } = record;
  const [uid, gid] = userMapping ? [toHostId(userMapping.uids, 0) ?? 0, toHostId(userMapping.gids, 0) ?? 0] : [0, 0];
  if (userMapping)
    await Promise.all([files.resolvConf, files.hostname, files.hosts].map((path) => chown(path, uid, gid)));
  const [nosuid, nodev, noexec] = [2, 4, 8];
  if (record.namespaces.ipc)
    calls.mount('shm', files.shm, 'tmpfs', nosuid | nodev | noexec, `mode=1777,size=${shmBytes},uid=${uid},gid=${gid}`);
}

const loopbackHosts = '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n';

/** The names that containers know without asking: the host's in its network, else their own. */
async function hostsFile(record: SandboxRecord): Promise<string> {
  if (record.namespaces.network) return loopbackHosts;
  return (await unlessMissing(readFile('/etc/hosts', 'utf8'))) ?? loopbackHosts;
}

/** Tells the addresses that the sandbox got under its name. */
export async function addOwnHosts(places: Places, record: SandboxRecord): Promise<void> {
  const { hostname } = record.config;
  const lines = (record.network?.ips ?? []).map((ip) => `${ip}\t${hostname}\n`);
  if (hostname && lines.length > 0) await appendFile(sandboxMounts(places, record).hosts, lines.join(''));
}

/** Takes the shared memory away; the files go with the record. */
export function unmountSandboxFiles(directory: string): void {
  const mntDetach = 2;
  try {
    calls.umount2(join(directory, 'shm'), mntDetach);
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (code !== 'EINVAL' && code !== 'ENOENT') throw cause;
  }
}

const hasDns = ({ servers, searches, options }: DNSConfig): boolean =>
  servers.length > 0 || searches.length > 0 || options.length > 0;

/** The file that resolvers read. */
export function renderResolvConf({ servers, searches, options }: DNSConfig): string {
  const lines: string[] = [];
  if (searches.length > 0) lines.push(`search ${searches.join(' ')}`);
  for (const server of servers) lines.push(`nameserver ${server}`);
  if (options.length > 0) lines.push(`options ${options.join(' ')}`);
  return lines.map((line) => `${line}\n`).join('');
}
