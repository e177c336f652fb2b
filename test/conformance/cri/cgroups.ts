import { existsSync, readFileSync, rmdirSync } from 'node:fs';

const root = '/sys/fs/cgroup';
const isVersion2 = existsSync(`${root}/cgroup.controllers`);
const controllers = [
  'memory',
  'cpu',
  'cpuset',
  'pids',
  'hugetlb',
  'freezer',
  'blkio',
  'devices',
  'cpu,cpuacct',
  'cpuacct',
  'perf_event',
  'net_cls',
  'net_prio',
  'rdma',
  'systemd',
  'unified',
  'misc',
];

/** The directory of a process's cgroup for a controller. */
export function cgroupOf(pid: number, controller: string): string {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
  for (const line of lines) {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (isVersion2 && names === '') return `${root}${path}`;
    if (!isVersion2 && names!.split(',').includes(controller))
      return `${root}/${existsSync(`${root}/${controller}`) ? controller : names}${path}`;
  }
  throw new Error(`process ${pid} has no cgroup of ${controller}:\n${lines.join('\n')}`);
}

/** A value of a process's cgroup: the file has another name in each version. */
export function cgroupValue(pid: number, controller: string, files: { v1: string; v2: string }): string {
  return readFileSync(`${cgroupOf(pid, controller)}/${isVersion2 ? files.v2 : files.v1}`, 'utf8').trim();
}

/** Takes an empty cgroup away, in every hierarchy. */
export function removeCgroup(path: string): void {
  for (const directory of isVersion2 ? [root] : controllers.map((name) => `${root}/${name}`)) {
    try {
      rmdirSync(`${directory}${path}`);
    } catch {
      // It is not there, or not empty: whoever is in it takes it away.
    }
  }
}
