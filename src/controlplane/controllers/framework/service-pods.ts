import type { ContainerPort, Pod, Service, ServicePort } from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import { sameJson } from './controller.ts';
import { isPodFinished, isPodReady } from './pods.ts';
import type { Store } from './store.ts';

/** Finds the Services that select a pod without looking at all of them: by one pair of each selector. */
export class ServiceIndex {
  readonly #byPair = new Map<string, Set<string>>();
  readonly #services = new Map<string, { pair: string; selector: Record<string, string> }>();

  /** Takes over a Service, or that it is gone. */
  set(key: string, service: Service | undefined): void {
    const before = this.#services.get(key);
    if (before) {
      const keys = this.#byPair.get(before.pair);
      keys?.delete(key);
      if (keys?.size === 0) this.#byPair.delete(before.pair);
      this.#services.delete(key);
    }
    const selector = service?.spec?.selector ?? {};
    const [first] = Object.entries(selector);
    if (!service || !first) return;
    const pair = pairOf(service.metadata.namespace, first[0], first[1]);
    this.#services.set(key, { pair, selector });
    const keys = this.#byPair.get(pair);
    if (keys) keys.add(key);
    else this.#byPair.set(pair, new Set([key]));
  }
  /** Keys of the Services that select a pod with these labels. */
  selecting(namespace: string | undefined, labels: Record<string, string> = {}): string[] {
    const found: string[] = [];
    for (const [name, value] of Object.entries(labels)) {
      for (const key of this.#byPair.get(pairOf(namespace, name, value)) ?? []) {
        if (selects(this.#services.get(key)!.selector, labels)) found.push(key);
      }
    }
    return found;
  }
}

function pairOf(namespace: string | undefined, name: string, value: string): string {
  return `${namespace}/${name}=${value}`;
}

/** Whether a Service's selector accepts the labels. */
export function selects(selector: Record<string, string>, labels: Record<string, string> | undefined): boolean {
  return Object.entries(selector).every(([name, value]) => labels?.[name] === value);
}

/** Feeds a queue of Service keys with the changes of Services and of pods that matter to endpoints. */
export function watchServicePods(
  services: Store<Service>,
  pods: Store<Pod>,
  queue: KeyedQueue,
): { index: ServiceIndex; unsubscribe: (() => void)[] } {
  const index = new ServiceIndex();
  for (const service of services.list()) {
    const key = `${service.metadata.namespace}/${service.metadata.name}`;
    index.set(key, service);
    queue.add(key);
  }
  const onService = services.subscribe((key, now) => {
    index.set(key, now);
    queue.add(key);
  });
  const onPod = pods.subscribe((_key, now, before) => {
    if (now && before && before.metadata.uid === now.metadata.uid && sameForEndpoints(now, before)) return;
    for (const pod of [now, before]) {
      if (!pod) continue;
      for (const service of index.selecting(pod.metadata.namespace, pod.metadata.labels)) queue.add(service);
    }
  });
  return { index, unsubscribe: [onService, onPod] };
}

function sameForEndpoints(a: Pod, b: Pod): boolean {
  return (
    isPodReady(a) === isPodReady(b) &&
    isPodFinished(a) === isPodFinished(b) &&
    a.metadata.deletionTimestamp === b.metadata.deletionTimestamp &&
    a.spec.nodeName === b.spec.nodeName &&
    a.status?.podIP === b.status?.podIP &&
    sameJson(a.status?.podIPs, b.status?.podIPs) &&
    sameJson(a.metadata.labels, b.metadata.labels)
  );
}

/** A Service's ports as they are at one pod: named target ports looked up, those that it lacks left out. */
export function portsAtPod(
  service: Service,
  pod: Pod,
): { name: string; port: number; protocol: string; appProtocol?: string }[] {
  return (service.spec?.ports ?? []).flatMap((servicePort) => {
    const port = targetPort(servicePort, pod);
    if (port === undefined) return [];
    const { name = '', protocol = 'TCP', appProtocol } = servicePort;
    return [{ name, port, protocol, ...(appProtocol ? { appProtocol } : {}) }];
  });
}

function targetPort({ targetPort: target, port, protocol = 'TCP' }: ServicePort, pod: Pod): number | undefined {
  if (target === undefined || target === 0 || target === '') return port;
  if (typeof target === 'number') return target;
  const containers = [
    ...pod.spec.containers,
    ...(pod.spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always'),
  ];
  for (const container of containers) {
    const found = (container.ports ?? []).find(
      (one: ContainerPort) => one.name === target && (one.protocol ?? 'TCP') === protocol,
    );
    if (found) return found.containerPort;
  }
  return undefined;
}

/** The name under which a headless Service publishes the pod on its own. */
export function endpointHostname(service: Service, pod: Pod): string | undefined {
  const matches = pod.spec.hostname && pod.spec.subdomain === service.metadata.name;
  return matches ? pod.spec.hostname : undefined;
}

/** The pod's address of a family. */
export function podAddress(pod: Pod, family: string): string | undefined {
  const addresses = pod.status?.podIPs?.length ? pod.status.podIPs.map(({ ip }) => ip) : [pod.status?.podIP];
  return addresses.find((ip) => ip && ip.includes(':') === (family === 'IPv6'));
}

/** The address families of a Service. One that has none yet takes that of its address. */
export function familiesOf(service: Service): string[] {
  const { ipFamilies, clusterIP } = service.spec ?? {};
  if (ipFamilies?.length) return ipFamilies;
  return [clusterIP?.includes(':') ? 'IPv6' : 'IPv4'];
}
