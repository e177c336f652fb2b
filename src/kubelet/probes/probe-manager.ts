import type { Container, Pod, Probe } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { ProbeResults } from '../pods/kit.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { PodRecord } from '../pods/pod-record.ts';
import type { ProbeCount } from '../pods/ports.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { newestContainer, type RuntimeContainer } from '../pods/runtime-state.ts';
import { type ProbeKind, type ProbeVerdict, ProbeWorker } from './probe-worker.ts';
import { type ProbeOutcome, runProbe } from './run-probe.ts';

/** What probes are made with. */
export interface ProbeManagerOptions {
  client: RuntimeClient;
  cache: () => RuntimeCache;
  events: PodEvents;
  clock: Clock;
  hostIps(): string[];
  /** Told when a verdict has changed. */
  onChange(podUid: string): void;
}

interface ContainerProbes {
  podUid: string;
  workers: Partial<Record<ProbeKind, ProbeWorker>>;
}

const kinds = ['startup', 'liveness', 'readiness'] as const;
const titles: Record<ProbeKind, string> = { startup: 'Startup', liveness: 'Liveness', readiness: 'Readiness' };

/** Probes the containers of all pods. Verdicts belong to a container's id: a restarted container starts over. */
export class ProbeManager implements ProbeResults {
  readonly #options: ProbeManagerOptions;
  readonly #containers = new Map<string, ContainerProbes>();
  readonly #counts = new Map<string, ProbeCount>();
  #stopped = false;

  constructor(options: ProbeManagerOptions) {
    this.#options = options;
  }

  startup(container: RuntimeContainer) {
    return this.#verdict(container, 'startup');
  }
  liveness(container: RuntimeContainer) {
    return this.#verdict(container, 'liveness');
  }
  readiness(container: RuntimeContainer) {
    return this.#verdict(container, 'readiness');
  }

  follow(record: PodRecord): void {
    if (this.#stopped) return;
    const { pod } = record;
    const probed = probedContainers(pod);
    if (probed.length === 0) return;
    const runtime = this.#options.cache().pod(pod.metadata.uid!);
    const wanted = new Set<string>();
    for (const container of probed) {
      const running = newestContainer(runtime, container.name);
      if (running?.state !== 'running' || record.phase === 'terminated') continue;
      wanted.add(running.id);
      if (!this.#containers.has(running.id)) this.#start(record, container, running);
    }
    for (const [id, { podUid }] of this.#containers) {
      if (podUid === pod.metadata.uid && !wanted.has(id)) this.#stopContainer(id);
    }
  }

  forget(podUid: string): void {
    for (const [id, one] of this.#containers) if (one.podUid === podUid) this.#stopContainer(id);
    for (const [key, one] of this.#counts) if (one.podUid === podUid) this.#counts.delete(key);
  }

  /** Ends all probes; verdicts stay. */
  stop(): void {
    this.#stopped = true;
    for (const { workers } of this.#containers.values()) for (const kind of kinds) workers[kind]?.stop();
  }

  counts(): ProbeCount[] {
    return [...this.#counts.values()];
  }

  #verdict(container: RuntimeContainer, kind: ProbeKind): ProbeVerdict | 'none' {
    const probes = this.#containers.get(container.id);
    // Not followed yet (it has only just started), or not probed at all: follow() makes the difference.
    return probes?.workers[kind]?.verdict ?? 'none';
  }

  #start(record: PodRecord, container: Container, running: RuntimeContainer): void {
    const probes: ContainerProbes = { podUid: running.podUid, workers: {} };
    this.#containers.set(running.id, probes);
    const known = knownStatus(record, running);
    for (const kind of kinds) {
      const probe = container[`${kind}Probe`];
      if (!probe) continue;
      const initial =
        kind === 'startup' ? known?.started === true : kind === 'readiness' ? known?.ready === true : true;
      if (kind === 'startup' && initial) continue;
      probes.workers[kind] = this.#worker(record, container, running, kind, probe, initial ? 'success' : 'pending');
    }
  }

  #worker(
    record: PodRecord,
    container: Container,
    running: RuntimeContainer,
    kind: ProbeKind,
    probe: Probe,
    initial: ProbeVerdict,
  ): ProbeWorker {
    const { client, clock, onChange } = this.#options;
    return new ProbeWorker({
      kind,
      probe,
      startedAt: running.startedAt,
      // A liveness probe has nothing against the container until it fails, but it looks from the start.
      initial: kind === 'liveness' ? 'pending' : initial,
      clock,
      run: () =>
        runProbe(probe, {
          client,
          containerId: running.id,
          container,
          podIp:
            record.status?.podIP ??
            this.#options.cache().pod(running.podUid).sandboxes[0]?.ips[0] ??
            this.#options.hostIps()[0] ??
            '',
        }),
      active: () => this.#isActive(record, running, kind),
      onVerdict: () => {
        if (kind === 'startup') for (const other of kinds) this.#containers.get(running.id)?.workers[other]?.wake();
        onChange(running.podUid);
      },
      onOutcome: (outcome) => this.#tell(record.pod, container.name, kind, outcome),
    });
  }

  #isActive(record: PodRecord, running: RuntimeContainer, kind: ProbeKind): boolean {
    if (kind === 'startup') return record.phase === 'syncing';
    const startup = this.#verdict(running, 'startup');
    if (startup !== 'none' && startup !== 'success') return false;
    // While a pod is being ended it may still become unready, but it is not killed once more.
    return kind === 'readiness' || (record.phase === 'syncing' && record.pod.metadata.deletionTimestamp === undefined);
  }

  #tell(pod: Pod, container: string, probe: ProbeKind, outcome: ProbeOutcome): void {
    const { namespace = '', name = '', uid = '' } = pod.metadata;
    const result = outcome.kind === 'success' ? 'successful' : outcome.kind === 'failure' ? 'failed' : 'unknown';
    const key = [uid, container, probe, result].join('/');
    const count = this.#counts.get(key) ?? { namespace, pod: name, podUid: uid, container, probe, result, count: 0 };
    count.count++;
    this.#counts.set(key, count);
    const { events } = this.#options;
    const title = titles[probe];
    if (outcome.kind === 'failure')
      events.warning(pod, 'Unhealthy', `${title} probe failed: ${outcome.output}`, container);
    else if (outcome.kind === 'error')
      events.warning(
        pod,
        'Unhealthy',
        `${title} probe errored and resulted in unknown state: ${outcome.output}`,
        container,
      );
    else if (outcome.warning)
      events.warning(pod, 'ProbeWarning', `${title} probe warning: ${outcome.warning}`, container);
  }

  #stopContainer(id: string): void {
    const { workers } = this.#containers.get(id)!;
    for (const kind of kinds) workers[kind]?.stop();
    this.#containers.delete(id);
  }
}

/** The status of the very container as the API has it: what a kubelet before us had found. */
function knownStatus({ status }: PodRecord, running: RuntimeContainer) {
  const all = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])];
  return all.find(({ containerID }) => containerID?.endsWith(`//${running.id}`));
}

/** The containers of a pod that have a probe. */
export function probedContainers(pod: Pod): Container[] {
  const { containers, initContainers = [] } = pod.spec!;
  const all = [...containers, ...initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always')];
  return all.filter(
    ({ startupProbe, livenessProbe, readinessProbe }) => startupProbe || livenessProbe || readinessProbe,
  );
}
