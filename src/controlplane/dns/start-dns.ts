import { networkInterfaces } from 'node:os';
import { type EndpointSlice, type Namespace, type Node, resources, type Service } from '../../api/index.ts';
import { type Clock, type Component, KeyedQueue, unlessAborted } from '../../async/index.ts';
import { type ApiClient, isAlreadyExists, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { type DnsListener, serveDns } from '../../wire/dns/index.ts';
import { sameJson } from '../controllers/framework/controller.ts';
import { Informers } from '../controllers/framework/informers.ts';
import type { Store } from '../controllers/framework/store.ts';
import { Resolver } from './answer.ts';
import { Forwarder, type Upstream } from './forwarder.ts';
import { ReverseIndex } from './reverse-index.ts';

/** What the cluster's name server is given. */
export interface DnsConfig {
  client: ApiClient;
  /** Where it listens, UDP and TCP. */
  listenAddress: string;
  /** Default 53; 0 takes a free one. */
  port?: number;
  /** Default `cluster.local`. */
  clusterDomain?: string;
  /** Who is asked for all other names; see parseResolvConf. Default nobody: such questions fail at once. */
  upstreams?: readonly Upstream[];
  /**
   * The address that the Service kube-system/kube-dns leads to; '' leaves the Service alone. Default listenAddress, or,
   * where that means every address, that of the node on this machine.
   */
  advertiseAddress?: string;
  /** Makes the Service kube-system/kube-dns with this address when it is not there. Default: it is left to others. */
  serviceAddress?: string;
  /** Watches to share with other components of this process. Default: its own. */
  informers?: Informers;
}

/** The running name server. */
export interface Dns extends Component {
  /** The port that it listens on, once ready. */
  port(): number;
}

const namespace = 'kube-system';
const serviceName = 'kube-dns';
const sliceName = 'kube-dns-deckhand';

/** Starts the cluster's name server: Services and pods by name from the API, everything else from `upstreams`. */
export function startDns(config: DnsConfig, context: { log: Logger; clock: Clock }): Dns {
  const { client, listenAddress, clusterDomain = 'cluster.local', upstreams = [] } = config;
  const domain = clusterDomain.toLowerCase().replace(/\.$/, '');
  const informers = config.informers ?? new Informers(client, context);
  const services = informers.store<Service>(resources.services);
  const slices = informers.store<EndpointSlice>(resources.endpointslices);
  const namespaces = informers.store<Namespace>(resources.namespaces);
  const nodes = informers.store<Node>(resources.nodes);
  const stores = [services, slices, namespaces, nodes];
  const reverse = indexOf(domain, services, slices);
  const forwarder = new Forwarder({ upstreams: upstreams.filter(({ host }) => host !== listenAddress), ...context });
  const source = {
    service: (space: string, name: string) => services.get(`${space}/${name}`),
    slices: (space: string, name: string) => slices.by('service', `${space}/${name}`),
    hasNamespace: (name: string) => namespaces.get(name) !== undefined,
    namesOf: (address: string) => reverse.namesOf(address),
  };
  const resolver = new Resolver({ domain, source, forwarder, log: context.log });
  let listener: DnsListener | undefined;
  const queue = new KeyedQueue(() => publish(config, listener!, { services, slices, nodes }), {
    clock: context.clock,
    concurrency: 1,
    retryMaximumMs: 5_000,
    onError: (_key, error) => context.log.debug('name server not published', { error }),
  });
  const wake = (key: string) => {
    reverse.invalidate();
    if (listener && key.startsWith(`${namespace}/${serviceName}`)) queue.add('publish');
  };
  const onNode = (_key: string, now: Node | undefined, before: Node | undefined) => {
    if (listener && !sameJson(now?.status?.addresses, before?.status?.addresses)) queue.add('publish');
  };
  const ends = [services.subscribe(wake), slices.subscribe(wake), nodes.subscribe(onNode)];
  const end = new AbortController();
  const ready = (async () => {
    listener = await whenAddressExists(context.clock, end.signal, () =>
      serveDns({ host: listenAddress, port: config.port ?? 53, clock: context.clock }, async (message, { transport }) =>
        resolver.answer(message, transport),
      ),
    );
    await unlessAborted(Promise.all(stores.map((store) => store.informer.synced)), end.signal);
    queue.add('publish');
  })();
  ready.catch(() => {});
  return {
    ready,
    port: () => listener?.port ?? 0,
    stop: async () => {
      for (const unsubscribe of ends) unsubscribe();
      end.abort(new Error('name server stopped'));
      await queue.stop();
      await ready.catch(() => {});
      await listener?.close();
      if (!config.informers) informers.stop();
    },
  };
}

function indexOf(domain: string, services: Store<Service>, slices: Store<EndpointSlice>): ReverseIndex {
  return new ReverseIndex(
    domain,
    () => services.list(),
    () => slices.list(),
  );
}

/** The address may be that of the pods' bridge, which the runtime makes while it starts: wait for it, at most 30 s. */
async function whenAddressExists<T>(clock: Clock, signal: AbortSignal, listen: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await listen();
    } catch (error) {
      if ((error as { code?: string }).code !== 'EADDRNOTAVAIL' || tries >= 1_500) throw error;
      await clock.sleep(20, signal);
    }
  }
}

/** Leads the Service kube-dns to where we listen. */
async function publish(
  config: DnsConfig,
  listener: DnsListener,
  stores: { services: Store<Service>; slices: Store<EndpointSlice>; nodes: Store<Node> },
): Promise<void> {
  const { client, listenAddress, serviceAddress } = config;
  const everywhere = listenAddress === '0.0.0.0' || listenAddress === '::';
  const advertiseAddress =
    config.advertiseAddress ?? (everywhere ? addressOfMachine(stores.nodes.list()) : listenAddress);
  // Without an address yet: a node that registers wakes us again.
  if (!advertiseAddress) return;
  if (everywhere) await listener.listenAt(advertiseAddress);
  if (serviceAddress && !stores.services.get(`${namespace}/${serviceName}`)) {
    await ignoring(isAlreadyExists, client.create(resources.services, kubeDnsService(serviceAddress)));
  }
  const wanted = kubeDnsSlice(advertiseAddress, listener.port);
  const existing = stores.slices.get(`${namespace}/${sliceName}`);
  if (!existing) {
    await ignoring(isAlreadyExists, client.create(resources.endpointslices, wanted));
    return;
  }
  const same =
    sameJson(existing.endpoints, wanted.endpoints) &&
    sameJson(existing.ports, wanted.ports) &&
    existing.addressType === wanted.addressType;
  if (same) return;
  if (existing.addressType !== wanted.addressType) {
    await ignoring(isNotFound, client.delete(resources.endpointslices, sliceName, { namespace }));
    await client.create(resources.endpointslices, wanted);
  } else
    await client.update(resources.endpointslices, { ...existing, endpoints: wanted.endpoints, ports: wanted.ports });
}

/** The address of the node that runs on this machine, or of the first when none seems to. */
function addressOfMachine(nodes: readonly Node[]): string | undefined {
  const own = new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)));
  const addresses = nodes.flatMap(({ status }) =>
    (status?.addresses ?? []).filter(({ type }) => type === 'InternalIP'),
  );
  return (addresses.find(({ address }) => own.has(address)) ?? addresses[0])?.address;
}

async function ignoring(test: (error: unknown) => boolean, promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch (error) {
    if (!test(error)) throw error;
  }
}

function kubeDnsService(clusterIP: string) {
  const port = (name: string, protocol: string) => ({ name, port: 53, protocol, targetPort: 53 });
  return {
    metadata: {
      name: serviceName,
      namespace,
      labels: { 'k8s-app': 'kube-dns', 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'CoreDNS' },
    },
    spec: { clusterIP, ports: [port('dns', 'UDP'), port('dns-tcp', 'TCP')] },
  };
}

function kubeDnsSlice(address: string, port: number) {
  return {
    metadata: {
      name: sliceName,
      namespace,
      labels: { 'kubernetes.io/service-name': serviceName, 'endpointslice.kubernetes.io/managed-by': 'deckhand-dns' },
    },
    addressType: address.includes(':') ? 'IPv6' : 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true, serving: true, terminating: false } }],
    ports: [
      { name: 'dns', port, protocol: 'UDP' },
      { name: 'dns-tcp', port, protocol: 'TCP' },
    ],
  };
}
