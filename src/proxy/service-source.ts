import { type EndpointSlice, resources, type Service } from '../api/index.ts';
import type { Clock } from '../async/index.ts';
import { type ApiClient, createInformer } from '../client/index.ts';
import type { Logger } from '../log/index.ts';
import { headlessLabel, serviceOf } from './model/endpoints.ts';
import { proxyNameLabel } from './model/service.ts';

/** Told of a change. */
export type ServiceListener = (service: string, what: 'service' | 'endpoints', slice?: EndpointSlice) => void;

/** Where Services and their slices come from. Reading is cheap: nothing is copied. */
export interface ServiceSource {
  /** Begins to watch. `onChange` is told the `namespace/name` of every Service that, or whose slices, changed; and the slice, if it is there. */
  start(onChange: ServiceListener): void;
  /** Resolves when everything that was there at the start is known. */
  readonly synced: Promise<void>;
  service(key: string): Service | undefined;
  slices(key: string): readonly EndpointSlice[];
  /** Keys of all Services. */
  keys(): string[];
  stop(): void;
}

/** Services and slices of an API server. Those that are for no proxy of our kind are left out by the server. */
export function watchServices(client: ApiClient, context: { log: Logger; clock: Clock }): ServiceSource {
  let tell: ServiceListener = () => {};
  const services = createInformer(client, resources.services, {
    labelSelector: `!${proxyNameLabel}`,
    fieldSelector: 'spec.clusterIP!=None',
    onChange: (key) => tell(key, 'service'),
    ...context,
  });
  const slices = createInformer(client, resources.endpointslices, {
    labelSelector: `!${headlessLabel},!${proxyNameLabel}`,
    indexes: { service: (slice) => [serviceOf(slice) ?? ''] },
    onChange: (_key, now, before) => {
      for (const slice of [before, now]) {
        const service = slice && serviceOf(slice);
        if (service) tell(service, 'endpoints', now);
      }
    },
    ...context,
  });
  return {
    start: (onChange) => {
      tell = onChange;
      services.start();
      slices.start();
    },
    synced: Promise.all([services.synced, slices.synced]).then(() => {}),
    service: (key) => services.get(key),
    slices: (key) => slices.byIndex('service', key),
    keys: () => services.list().map((service) => `${service.metadata.namespace}/${service.metadata.name}`),
    stop: () => {
      services.stop();
      slices.stop();
    },
  };
}

/** Services and slices that a caller sets by hand: for tests and measurements. */
export class ManualSource implements ServiceSource {
  readonly synced = Promise.resolve();
  readonly #services = new Map<string, Service>();
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();
  #tell: ServiceListener = () => {};

  start(onChange: ServiceListener): void {
    this.#tell = onChange;
  }
  stop(): void {}
  service(key: string): Service | undefined {
    return this.#services.get(key);
  }
  slices(key: string): readonly EndpointSlice[] {
    return [...(this.#slices.get(key)?.values() ?? [])];
  }
  keys(): string[] {
    return [...this.#services.keys()];
  }
  /** Adds or replaces a Service. */
  setService(service: Service): void {
    const key = `${service.metadata.namespace}/${service.metadata.name}`;
    this.#services.set(key, service);
    this.#tell(key, 'service');
  }
  deleteService(key: string): void {
    if (this.#services.delete(key)) this.#tell(key, 'service');
  }
  /** Adds or replaces a slice. */
  setSlice(slice: EndpointSlice): void {
    const key = serviceOf(slice);
    if (!key) return;
    const slices = this.#slices.get(key) ?? new Map<string, EndpointSlice>();
    this.#slices.set(key, slices.set(slice.metadata.name!, slice));
    this.#tell(key, 'endpoints', slice);
  }
  deleteSlice(service: string, name: string): void {
    if (this.#slices.get(service)?.delete(name)) this.#tell(service, 'endpoints');
  }
}
