import { readdirSync, readFileSync } from 'node:fs';
import { Counter, Gauge, type Registry } from 'prom-client';
import { featureGateTable, findFeatureGate } from '../../api/features/index.ts';
import type { ApiClient } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { proxyVersion } from '../version.ts';
import type { ProxyMetrics } from './metrics.ts';

/** What every component of Kubernetes tells of itself: version, feature gates, process. Read when it is asked for. */
export function addProcessMetrics(
  { registry }: ProxyMetrics,
  featureGates: () => Readonly<Record<string, boolean>>,
): void {
  const [major, minor] = proxyVersion.slice(1).split('.') as [string, string];
  const build = {
    ...{ major, minor, git_version: proxyVersion, git_commit: '', git_tree_state: '', build_date: '' },
    ...{ go_version: `node ${process.version}`, compiler: 'v8', platform: `${process.platform}/${process.arch}` },
  };
  const registers = [registry];
  new Gauge({
    name: 'kubernetes_build_info',
    help: 'Always 1; the labels tell the versions',
    labelNames: Object.keys(build),
    registers,
  }).set(build, 1);
  new Gauge({
    name: 'kubernetes_feature_enabled',
    help: '1 where a feature gate is on',
    labelNames: ['name', 'stage'],
    registers,
    collect() {
      for (const name of Object.keys(featureGateTable)) {
        const { on, stage } = findFeatureGate(name)!;
        const known = stage === 'ga' ? '' : stage.toUpperCase();
        this.set({ name, stage: known }, Number(featureGates()[name] ?? on));
      }
    },
  });
  addProcess(registers);
}

function addProcess(registers: Registry[]): void {
  const gauge = (name: string, help: string, read: () => number | undefined) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = read();
        if (value !== undefined) this.set(value);
      },
    });
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time of this process',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  gauge('process_resident_memory_bytes', 'Resident memory of this process', () => kilobytes('VmRSS'));
  gauge('process_virtual_memory_bytes', 'Virtual memory of this process', () => kilobytes('VmSize'));
  gauge(
    'process_start_time_seconds',
    'When this process started, seconds since 1970',
    () => performance.timeOrigin / 1000,
  );
  gauge('process_open_fds', 'Open files of this process', openFiles);
  gauge('process_max_fds', 'Files that this process may have open', mostOpenFiles);
  gauge('nodejs_heap_size_used_bytes', 'Heap in use', () => process.memoryUsage().heapUsed);
  let utilization = performance.eventLoopUtilization();
  gauge(
    'nodejs_eventloop_utilization',
    'Share of the time since the last look in which the event loop was busy',
    () => {
      const now = performance.eventLoopUtilization();
      const share = performance.eventLoopUtilization(now, utilization).utilization;
      utilization = now;
      return share;
    },
  );
}

/** Counts and times what is asked of the API server, and says when it ceases to answer and when it does again. */
export function measureClient(client: ApiClient, metrics: ProxyMetrics, log: Logger): void {
  let away = false;
  client.observe(({ method, path, code, durationMs }) => {
    const { host } = new URL(client.config.server);
    const answered = /^\d+$/.test(code);
    metrics.requests.inc({ code: answered ? code : '<error>', method, host });
    metrics.requestDuration.observe({ verb: method, host }, durationMs / 1000);
    // What was given up on our side says nothing of the server.
    if (code === 'ABORT_ERR') return;
    const well = answered && !(Number(code) >= 500);
    if (well === !away) return;
    away = !well;
    if (away) log.warn('the API server does not answer; rules stay as they are', { host, path, code });
    else log.info('the API server answers', { host });
  });
}

function kilobytes(name: string): number | undefined {
  const found = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readText('/proc/self/status'))?.[1];
  return found === undefined ? undefined : Number(found) * 1024;
}

function openFiles(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

function mostOpenFiles(): number | undefined {
  const most = /^Max open files\s+(\d+)/m.exec(readText('/proc/self/limits'))?.[1];
  return most === undefined ? undefined : Number(most);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
