import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { setOwnOomScore } from '../host/process/index.ts';
import type { Logger } from '../log/index.ts';
import type { ConntrackSettings, ProxySettings } from './configuration.ts';
import { ProxyError } from './errors.ts';

/** A kernel parameter and the value it is to have. */
export interface Sysctl {
  path: string;
  value: string;
}

const mostConnections = 1_048_576;
const hashSizePath = '/sys/module/nf_conntrack/parameters/hashsize';

/**
 * The parameters of connection tracking that settings ask for. As upstream: so many connections for each core, at least the
 * minimum and at most 1,048,576, and a quarter of that as hash buckets when there are fewer.
 */
export function conntrackSysctls(settings: ConntrackSettings, processors: number, hashSize: number): Sysctl[] {
  const { maxPerCore = 0, minimum = 0, tcpBeLiberal } = settings;
  const scaled = maxPerCore * processors;
  const wanted = scaled > mostConnections ? mostConnections : Math.max(minimum, scaled);
  const made: Sysctl[] = [];
  const set = (name: string, value: string) =>
    made.push({ path: `/proc/sys/net/netfilter/nf_conntrack_${name}`, value });
  const time = (name: string, ms: number | undefined) => {
    if (ms && ms > 0) set(name, String(Math.trunc(ms / 1000)));
  };
  if (maxPerCore > 0) {
    set('max', String(wanted));
    const buckets = Math.trunc(wanted / 4);
    if (hashSize < buckets) made.push({ path: hashSizePath, value: String(buckets) });
  }
  time('tcp_timeout_established', settings.tcpEstablishedTimeoutMs);
  time('tcp_timeout_close_wait', settings.tcpCloseWaitTimeoutMs);
  if (tcpBeLiberal) set('tcp_be_liberal', '1');
  time('udp_timeout', settings.udpTimeoutMs);
  time('udp_timeout_stream', settings.udpStreamTimeoutMs);
  return made;
}

/** The kernel parameters that a proxy with these settings needs. */
export async function wantedSysctls({ conntrack, mode, localhostNodePorts }: ProxySettings): Promise<Sysctl[]> {
  const hashSize = Number(await readFile(hashSizePath, 'utf8').catch(() => '0')) || Number.POSITIVE_INFINITY;
  const made = conntrackSysctls(conntrack, cpus().length, hashSize);
  if (localhostNodePorts && mode === 'iptables')
    made.push({ path: '/proc/sys/net/ipv4/conf/all/route_localnet', value: '1' });
  return made;
}

/** Sets parameters that differ. Gives what could not be set, and why; the others are set all the same. */
export async function applySysctls(wanted: readonly Sysctl[]): Promise<{ sysctl: Sysctl; error: unknown }[]> {
  const failed: { sysctl: Sysctl; error: unknown }[] = [];
  for (const sysctl of wanted)
    try {
      if ((await readFile(sysctl.path, 'utf8')).trim() !== sysctl.value) await writeFile(sysctl.path, sysctl.value);
    } catch (error) {
      failed.push({ sysctl, error });
    }
  return failed;
}

/**
 * What needs all rights on the node, for `--init-only`: a container with all rights does this, and then one with NET_ADMIN
 * alone, whose /proc/sys is read-only, finds everything as it is to be.
 * @throws ProxyError KERNEL_REFUSED naming what could not be set
 */
export async function prepareNode(settings: ProxySettings, { log }: { log: Logger }): Promise<void> {
  const wanted = await wantedSysctls(settings);
  const failed = await applySysctls(wanted);
  for (const { path, value } of wanted) log.info('kernel parameter', { path, value });
  if (failed.length === 0) return;
  const list = failed.map(({ sysctl, error }) => `${sysctl.path}: ${(error as Error).message}`);
  throw new ProxyError('KERNEL_REFUSED', 'kernel parameters', `cannot be set: ${list.join('; ')}`);
}

/** Sets the oom_score_adj of this process; one that may not be lowered so far stays, which is logged. */
export function applyOomScore(score: number | undefined, log: Logger): void {
  if (score === undefined || setOwnOomScore(score)) return;
  log.info('oom_score_adj stays: it may not be lowered here', { wanted: score });
}

/** Writes a sysctl unless it has the value. Gives whether it has it now. */
export async function setSysctl(path: string, value: string, log: Logger): Promise<boolean> {
  const [failed] = await applySysctls([{ path, value }]);
  if (failed) log.info('sysctl not set', { path, value, error: failed.error });
  return !failed;
}
