import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ConfigMap, type Pod, resources } from '../../src/api/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import type { PodTimeline } from '../../src/kubelet/index.ts';
import type { Cluster } from '../../test/support/cluster.ts';
import { containerOf, isReady, PodDriver } from '../../test/support/pod-driver.ts';

/** A cluster whose kubelet is a process of its own, with what is measured on it. */
export class MeasuredNode {
  readonly cluster: Cluster;
  readonly pods: PodDriver;

  private constructor(cluster: Cluster, pods: PodDriver) {
    this.cluster = cluster;
    this.pods = pods;
  }

  /** Enters the network of a cluster that runs. */
  static async enter(cluster: Cluster, image: string): Promise<MeasuredNode> {
    return new MeasuredNode(cluster, await PodDriver.start(cluster, image));
  }

  /** Milliseconds from creating a pod to seeing it Ready. */
  async start(name: string, spec: object = {}): Promise<number> {
    const before = performance.now();
    await this.pods.create(name, spec);
    await this.pods.untilReady(name, 120_000);
    return performance.now() - before;
  }

  /** Milliseconds from deleting a pod to seeing it gone. */
  async end(name: string): Promise<number> {
    const before = performance.now();
    await this.pods.delete(name).catch(async (error: { code?: string }) => {
      // A connection that was kept for two minutes may be closed just as it is used again.
      if (error.code !== 'ECONNRESET') throw error;
      await this.pods.delete(name);
    });
    await this.pods.untilGone(name, 120_000);
    return performance.now() - before;
  }

  /** Milliseconds until all of some pods are Ready, created at once. */
  async startAll(names: readonly string[], spec: object = {}): Promise<number> {
    const before = performance.now();
    await Promise.all(names.map((name) => this.start(name, spec)));
    return performance.now() - before;
  }

  async endAll(names: readonly string[]): Promise<number> {
    const before = performance.now();
    await Promise.all(names.map((name) => this.end(name)));
    return performance.now() - before;
  }

  /** Milliseconds from the death of a pod's first process to the written status that says it runs again. */
  async restart(name: string): Promise<number> {
    const pod = this.pods.get(name)!;
    const restarts = containerOf(pod)!.restartCount;
    const pid = mainProcess(pod);
    const before = performance.now();
    process.kill(pid, 'SIGKILL');
    await this.pods.until(
      'runs again',
      name,
      (now) => containerOf(now)!.restartCount > restarts && containerOf(now)!.state?.running,
    );
    return performance.now() - before;
  }

  /** Milliseconds from a change of a ConfigMap to its being in a pod's volume. */
  async configChange(pod: string, map: string, value: string): Promise<number> {
    const { uid } = this.pods.get(pod)!.metadata;
    const path = join(this.cluster.dataDirectory, 'kubelet/pods', uid, 'volumes/kubernetes.io~configmap/config/key');
    const { client } = this.pods;
    const before = performance.now();
    const patch = { data: { key: value } };
    await client.patch<ConfigMap>(resources.configmaps, map, patch, { namespace: 'default', type: 'merge' });
    await pollUntil('the change', async () => (await readFile(path, 'utf8')) === value, {
      timeoutMs: 30_000,
      intervalMs: 2,
    });
    return performance.now() - before;
  }

  /** What the kubelet answers, through the API server. */
  async ask(path: string): Promise<string> {
    const { body } = await this.pods.client.request('GET', `/api/v1/nodes/node-1/proxy/${path}`, { timeoutMs: 20_000 });
    return body.toString();
  }

  async timelines(): Promise<PodTimeline[]> {
    return JSON.parse(await this.ask('debug/timeline')) as PodTimeline[];
  }

  /** Memory in use, bytes, and processor time so far, seconds, of the kubelet. */
  async cost(): Promise<{ residentBytes: number; cpuSeconds: number }> {
    const pid = await this.cluster.pidOf('kubelet');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      residentBytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024,
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
    };
  }

  /**
   * Kills the kubelet. Milliseconds from the start of the new process until it tells all of the pods Ready, and which of
   * them were not Ready at some moment.
   */
  async killKubelet(
    names: readonly string[],
  ): Promise<{ ms: number; cpuMs: number; fromKillMs: number; flapped: string[] }> {
    const seen = new Map(names.map((name) => [name, this.pods.history.get(name)!.length - 1]));
    const before = await this.cluster.pidOf('kubelet');
    const killedAt = Date.now();
    process.kill(before, 'SIGKILL');
    const wanted = new Set(names);
    await pollUntil(
      'all pods are known',
      async () => {
        const list = await this.ask('pods').catch(() => undefined);
        if (!list) return false;
        const { items } = JSON.parse(list) as { items: Pod[] };
        return items.filter((pod) => wanted.has(pod.metadata.name) && isReady(pod)).length === wanted.size;
      },
      { timeoutMs: 30_000, intervalMs: 10 },
    );
    const doneAt = Date.now();
    const cpuMs = (await this.cost()).cpuSeconds * 1000;
    const startedAt = startOf(await this.cluster.pidOf('kubelet'));
    const flapped = names.filter((name) => !this.pods.history.get(name)!.slice(seen.get(name)).every(isReady));
    return { ms: doneAt - startedAt, cpuMs, fromKillMs: doneAt - killedAt, flapped };
  }
}

/** When a process was started, milliseconds since 1970. */
function startOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  const boot = Number(/^btime (\d+)/m.exec(readFileSync('/proc/stat', 'latin1'))![1]);
  // The boot time is whole seconds; the time up is not.
  const up = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);
  const now = Date.now();
  return Math.abs(now - up * 1000 - boot * 1000) < 2000 ? now - up * 1000 + ticks * 10 : boot * 1000 + ticks * 10;
}

/** The first process of the only container of a pod, as the node sees it. */
function mainProcess(pod: Pod): number {
  const { uid } = pod.metadata;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (!readFileSync(`/proc/${name}/cgroup`, 'utf8').includes(uid)) continue;
      if (/^NSpid:.*\t1$/m.test(readFileSync(`/proc/${name}/status`, 'utf8'))) return Number(name);
    } catch {
      // It has ended.
    }
  }
  throw new Error(`no process of pod ${pod.metadata.name}`);
}
