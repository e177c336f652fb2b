import type { Container, Pod, Probe } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { ProbeResults } from '../pods/kit.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { PodRecord } from '../pods/pod-record.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { newestContainer, type RuntimeContainer } from '../pods/runtime-state.ts';
import type { ProbeOutcome } from './probe-outcome.ts';
import { type ProbeKind, type ProbeVerdict, ProbeWorker } from './probe-worker.ts';
import { runProbe } from './run-probe.ts';

/** What probes are made with. */
export interface ProbeManagerOptions {
  client: RuntimeClient;
  cache: RuntimeCache;
  events: PodEvents;
  metrics: KubeletMetrics;
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
  readonly #startedAt: number;
  /** Pods that metrics tell of, by uid. */
  readonly #named = new Map<string, { namespace: string; pod: string }>();
  #stopped = false;

  constructor(options: ProbeManagerOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
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
    const runtime = this.#options.cache.pod(pod.metadata.uid!);
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
    const name = this.#named.get(podUid);
    if (!name) return;
    this.#named.delete(podUid);
    this.#options.metrics.forget('prober_probe_total', { pod_uid: podUid });
    this.#options.metrics.forget('prober_probe_duration_seconds', name);
  }

  /** Ends all probes; verdicts stay. */
  stop(): void {
    this.#stopped = true;
    for (const { workers } of this.#containers.values()) for (const kind of kinds) workers[kind]?.stop();
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
    const { client, clock, metrics, onChange } = this.#options;
    return new ProbeWorker({
      kind,
      probe,
      startedAt: running.startedAt,
      adopted: running.startedAt < this.#startedAt,
      // A liveness probe has nothing against the container until it fails, but it looks from the start.
      initial: kind === 'liveness' ? 'pending' : initial,
      clock,
      onBegin: (lateMs) => metrics.observe('deckhand_prober_lateness_seconds', lateMs / 1000),
      run: () =>
        runProbe(probe, {
          clock,
          client,
          containerId: running.id,
          container,
          podIp:
            record.status?.podIP ??
            this.#options.cache.pod(running.podUid).sandboxes[0]?.ips[0] ??
            this.#options.hostIps()[0] ??
            '',
        }),
      active: () => this.#isActive(record, running, kind),
      onVerdict: () => {
        if (kind === 'startup') for (const other of kinds) this.#containers.get(running.id)?.workers[other]?.wake();
        onChange(running.podUid);
      },
      onOutcome: (outcome, ms) => this.#tell(record.pod, container.name, kind, outcome, ms),
    });
  }

  #isActive(record: PodRecord, running: RuntimeContainer, kind: ProbeKind): boolean {
    if (kind === 'startup') return record.phase === 'syncing';
    const startup = this.#verdict(running, 'startup');
    if (startup !== 'none' && startup !== 'success') return false;
    // While a pod is being ended it may still become unready, but it is not killed once more.
    return kind === 'readiness' || (record.phase === 'syncing' && record.pod.metadata.deletionTimestamp === undefined);
  }

  #tell(pod: Pod, container: string, kind: ProbeKind, outcome: ProbeOutcome, ms: number): void {
    const { namespace = '', name = '', uid = '' } = pod.metadata;
    const result = outcome.kind === 'success' ? 'successful' : outcome.kind === 'failure' ? 'failed' : 'unknown';
    const labels = { container, namespace, pod: name, probe_type: titles[kind] };
    this.#named.set(uid, { namespace, pod: name });
    this.#options.metrics.count('prober_probe_total', { ...labels, pod_uid: uid, result });
    this.#options.metrics.observe('prober_probe_duration_seconds', ms / 1000, labels);
    const { events } = this.#options;
    const title = titles[kind];
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
function knownStatus(record: PodRecord, running: RuntimeContainer) {
  // What a static pod was is known by its picture in the API.
  const status = record.status ?? record.mirror?.status;
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
