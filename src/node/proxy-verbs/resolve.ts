import { lookup } from 'node:dns/promises';
import { type Pod, resources } from '../../api/index.ts';
import { isNotFound } from '../../client/index.ts';
import {
  type Frontend,
  frontendAt,
  frontendOf,
  type IpFamily,
  isAddressOf,
  type Protocol,
  parseTarget,
  type Target,
  TargetError,
} from '../../proxy/index.ts';
import { UsageError } from '../flags.ts';
import type { Sources } from './open-sources.ts';

/** Where a packet starts. */
export interface ResolvedSource {
  /** Empty: a program of the node, with whatever address the routes give it. */
  addresses: readonly string[];
  /** What was asked for, in words. */
  name: string;
  /** The node that a pod runs on. */
  node?: string;
}

/** Where a packet goes. */
export interface ResolvedDestination {
  address: string;
  port: number;
  protocol: Protocol;
  name: string;
}

/** Reads `--from`: `node`, an address, or a pod (`[namespace/]name`). @throws UsageError */
export async function resolveSource(text: string, namespace: string, sources: Sources): Promise<ResolvedSource> {
  if (text === 'node') return { addresses: [], name: 'a program of the node' };
  if (isAddressOf(text, 4) || isAddressOf(text, 6)) return { addresses: [text], name: text };
  if (!/^(?:[a-z0-9-]+\/)?[a-z0-9.-]+$/.test(text))
    throw new UsageError(`--from ${text} is neither an address, nor a pod (NAMESPACE/NAME), nor 'node'`);
  const [podNamespace, name] = text.includes('/') ? text.split('/') : [namespace, text];
  if (!sources.client) throw new Error(`pod ${podNamespace}/${name} cannot be looked up: ${sources.apiError}`);
  let pod: Pod;
  try {
    pod = await sources.client.get(resources.pods, name!, { namespace: podNamespace! });
  } catch (error) {
    if (isNotFound(error)) throw new UsageError(`--from ${text}: there is no pod ${podNamespace}/${name}`);
    throw new Error(`pod ${podNamespace}/${name} cannot be looked up`, { cause: error });
  }
  const addresses = (pod.status?.podIPs ?? []).flatMap((one) => one.ip ?? []);
  const label = `pod ${podNamespace}/${name}`;
  if (pod.spec?.hostNetwork) return { addresses: [], name: `${label}, in the node's network`, node: pod.spec.nodeName };
  if (addresses.length === 0) throw new Error(`${label} has no address yet`);
  return { addresses, name: label, node: pod.spec?.nodeName };
}

/** Reads `--to`; see parseTarget. Gives one destination for each address of a name. @throws UsageError, TargetError */
export async function resolveDestinations(
  text: string,
  namespace: string,
  families: readonly IpFamily[],
  sources: Sources,
): Promise<ResolvedDestination[]> {
  try {
    const target = parseTarget(text, namespace);
    if (target.service !== undefined) return await resolveService(target, families, sources);
    if (target.host !== undefined) return await resolveHost(target, families, sources);
    return [await resolveAddress(target, target.address!, sources)];
  } catch (error) {
    throw error instanceof TargetError ? new UsageError(`--to ${error.message}`) : error;
  }
}

async function resolveService(
  target: Target,
  families: readonly IpFamily[],
  { expectations, apiError }: Sources,
): Promise<ResolvedDestination[]> {
  if (!expectations)
    throw new Error(`Service ${target.service} cannot be looked up: no proxy runs here, and ${apiError}`);
  const found: ResolvedDestination[] = [];
  let failure: unknown;
  for (const family of families) {
    if (!expectations.families.includes(family)) continue;
    try {
      const plans = await expectations.plans(family, { service: target.service! });
      found.push(destinationOf(frontendOf(target, plans, family), `Service ${target.service}`));
    } catch (error) {
      failure ??= error;
    }
  }
  if (found.length === 0) throw failure ?? new TargetError(`no proxy serves the address family of the source`);
  return found;
}

async function resolveHost(
  target: Target,
  families: readonly IpFamily[],
  sources: Sources,
): Promise<ResolvedDestination[]> {
  const answers = await lookup(target.host!, { all: true }).catch((cause: unknown) => {
    throw new TargetError(`${target.host} cannot be looked up: ${(cause as Error).message}`);
  });
  const usable = answers.filter(({ family }) => families.includes(family as IpFamily));
  if (usable.length === 0) throw new TargetError(`${target.host} has no address of the source's family`);
  const resolved: ResolvedDestination[] = [];
  for (const { address } of usable)
    resolved.push({ ...(await resolveAddress(target, address, sources)), name: target.host! });
  return resolved;
}

async function resolveAddress(target: Target, address: string, sources: Sources): Promise<ResolvedDestination> {
  const port = Number(target.port);
  if (Number.isInteger(port)) {
    if (port < 1 || port > 65_535) throw new TargetError(`${target.port} is not a port: use 1 to 65535`);
    return { address, port, protocol: target.protocol ?? 'TCP', name: address };
  }
  const family = address.includes(':') ? 6 : 4;
  const plans = (await sources.expectations?.plans(family, { address })) ?? [];
  return destinationOf(frontendAt({ ...target, address }, plans), address);
}

function destinationOf({ address, port, protocol }: Frontend, name: string): ResolvedDestination {
  return { address, port, protocol, name };
}
