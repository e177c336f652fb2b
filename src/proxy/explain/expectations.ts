import { type EndpointSlice, resources, type Service } from '../../api/index.ts';
import { type ApiClient, isNotFound } from '../../client/index.ts';
import { backendOptions } from '../backend-options.ts';
import type { BackendOptions, ProxyMode } from '../backends/backend.ts';
import type { ProxySettings } from '../configuration.ts';
import { headlessLabel, readEndpoints, serviceNameLabel, serviceOf } from '../model/endpoints.ts';
import { proxyNameLabel, readService } from '../model/service.ts';
import type { IpFamily, ServiceModel } from '../model/types.ts';
import { type NodeFacts, readNode, unknownNode } from '../node-facts.ts';
import { planService } from '../plan/plan-service.ts';
import { PlanTable } from '../plan/plan-table.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { concernsPlan, type PlanQuery, type ProxyState } from './state.ts';
import { connectToProxy } from './state-client.ts';

/** What should be in the kernel, from whoever knows it. */
export interface Expectations {
  /** A running proxy, or the API server's objects planned here and now. */
  origin: 'proxy' | 'api';
  mode: ProxyMode;
  nodeName: string;
  families: readonly IpFamily[];
  options(family: IpFamily): BackendOptions;
  plans(family: IpFamily, query?: PlanQuery): Promise<ServicePortPlan[]>;
  /** What the running proxy says of itself. */
  state?: ProxyState;
  close(): void;
}

/** What the proxy of this network namespace wants; undefined when none runs. */
export async function expectationsOfProxy(): Promise<Expectations | undefined> {
  const proxy = await connectToProxy();
  if (!proxy) return undefined;
  const { state } = proxy;
  return {
    origin: 'proxy',
    mode: state.mode,
    nodeName: state.nodeName,
    families: state.families.map(({ family }) => family),
    options: (family) => {
      const found = state.families.find((one) => one.family === family);
      if (!found) throw new Error(`the proxy does not serve IPv${family} on this node`);
      return found.options;
    },
    plans: (family, query) => proxy.plans(family, query),
    state,
    close: () => proxy.close(),
  };
}

/** What a proxy with these settings would want, from the API server's objects. */
export async function expectationsOfApi(
  client: ApiClient,
  settings: ProxySettings,
  nodeName: string,
): Promise<Expectations> {
  const planner = new ApiPlanner(client, nodeName);
  await planner.start();
  return {
    origin: 'api',
    mode: settings.mode,
    nodeName,
    families: [4, 6],
    options: (family) => backendOptions(settings, planner.node, family),
    plans: (family, query) => planner.plans(family, query ?? {}),
    close: () => {},
  };
}

/** Services up to which slices are asked for one Service at a time. */
const fewServices = 20;

class ApiPlanner {
  readonly #client: ApiClient;
  readonly #nodeName: string;
  #services: Service[] = [];
  node: NodeFacts = unknownNode;

  constructor(client: ApiClient, nodeName: string) {
    this.#client = client;
    this.#nodeName = nodeName;
  }

  async start(): Promise<void> {
    const [services, node] = await Promise.all([
      this.#client.list(resources.services, { labelSelector: `!${proxyNameLabel}` }),
      this.#client.get(resources.nodes, this.#nodeName).catch((error: unknown) => {
        if (isNotFound(error)) return undefined;
        throw error;
      }),
    ]);
    this.#services = services.items;
    this.node = node ? readNode(node) : unknownNode;
  }

  async plans(family: IpFamily, query: PlanQuery): Promise<ServicePortPlan[]> {
    const topology = { nodeName: this.#nodeName, zone: this.node.zone };
    const models = this.#services.flatMap((service) => readService(service, family) ?? []);
    const wanted = models.filter((model) =>
      planService(model, new Map(), topology).some((plan) => concernsPlan(plan, query)),
    );
    const slices = await this.#slices(wanted);
    const table = new PlanTable();
    for (const model of wanted) {
      const own = slices.filter((slice) => serviceOf(slice) === model.key);
      table.update(model.key, planService(model, readEndpoints(own, family, this.#nodeName), topology));
    }
    return [...table.plans()].filter((plan) => concernsPlan(plan, query));
  }

  async #slices(models: readonly ServiceModel[]): Promise<EndpointSlice[]> {
    if (models.length > fewServices) {
      const labelSelector = `!${headlessLabel},!${proxyNameLabel}`;
      return (await this.#client.list(resources.endpointslices, { labelSelector })).items;
    }
    const lists = models.map(({ key }) => {
      const [namespace, name] = key.split('/');
      return this.#client.list(resources.endpointslices, {
        namespace: namespace!,
        labelSelector: `${serviceNameLabel}=${name}`,
      });
    });
    return (await Promise.all(lists)).flatMap(({ items }) => items);
  }
}
