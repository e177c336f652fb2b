import { resources } from '../../api/index.ts';
import {
  type Explanation,
  explainPacket,
  explainUnroutable,
  type IpFamily,
  KernelNodeView,
  type KernelView,
  readKernel,
  type TracedPacket,
} from '../../proxy/index.ts';
import { type ComponentContext, defineVerb } from '../component-module.ts';
import { UsageError } from '../flags.ts';
import type { Explained } from './explained.ts';
import { openSources, type Sources, type SourceValues, sourceFlags } from './open-sources.ts';
import { printExplanation } from './print-explanation.ts';
import { type ResolvedDestination, type ResolvedSource, resolveDestinations, resolveSource } from './resolve.ts';

export default defineVerb({
  summary: 'tell what becomes of a packet, rule by rule, and whether the kernel agrees',
  usage: `--to DESTINATION [--from SOURCE] [OPTIONS]

  DESTINATION  ADDRESS[:PORT][/PROTOCOL], [NAMESPACE/]SERVICE[:PORT][/PROTOCOL], SERVICE.NAMESPACE.svc[:PORT], or a host's name
  SOURCE       a pod ([NAMESPACE/]NAME), an address, or 'node' for a program of the node (the default)

Asks the proxy that runs in this network namespace; without one, plans what the API server's objects say (--kubeconfig);
without either, reads the kernel alone. Exits with 0 when the packet passes and the kernel agrees, with 1 when it is
refused or dropped, or the kernel differs from what should be there, with 2 when the question is not understood.`,
  flags: {
    from: { type: 'string', value: 'SOURCE', default: 'node', help: 'where the packet starts' },
    to: { type: 'string', value: 'DESTINATION', help: 'where it goes' },
    namespace: { type: 'string', short: 'n', value: 'NAME', default: 'default', help: 'of names without one' },
    interface: { type: 'string', value: 'LINK', help: 'the link by which it comes in (default: by the routes)' },
    ...sourceFlags,
  },
  async run(values, context) {
    if (!values.to) throw new UsageError('--to is missing: say where the packet goes');
    const sources = await openSources(values as SourceValues, context);
    try {
      using reader = new NodeReader();
      const all = await explainAll({ ...values, to: values.to }, { sources, reader }, context);
      if (values.output === 'json') console.log(JSON.stringify(all.length === 1 ? all[0] : all, undefined, 2));
      else console.log(all.map(printExplanation).join('\n\n'));
      return all.every(isFine) ? 0 : 1;
    } finally {
      sources.close();
    }
  },
});

function isFine({ verdict, kernel }: Explanation): boolean {
  return (verdict === 'sent' || verdict === 'untouched') && kernel.state !== 'differs';
}

/** What is asked of {@link explainAll}. */
export interface Question {
  from: string;
  to: string;
  namespace: string;
  interface?: string;
}

/** What is read of the node and its kernel, each once. */
export class NodeReader {
  readonly view = new KernelNodeView();
  readonly #kernels = new Map<IpFamily, KernelView | undefined>();

  /** The rules of a family; undefined when there are none. */
  async kernel(family: IpFamily, { mode }: Sources, context: ComponentContext): Promise<KernelView | undefined> {
    if (!this.#kernels.has(family)) this.#kernels.set(family, await readKernel(mode, family, context));
    return this.#kernels.get(family);
  }
  [Symbol.dispose](): void {
    for (const kernel of this.#kernels.values()) kernel?.close();
    this.view.close();
  }
}

/** Explains a packet to every address of the destination that the source can call. */
export async function explainAll(
  question: Question,
  { sources, reader }: { sources: Sources; reader: NodeReader },
  context: ComponentContext,
): Promise<Explained[]> {
  const from = await resolveSource(question.from, question.namespace, sources);
  const known = from.addresses.map(familyOf);
  const families = known.length > 0 ? [...new Set(known)] : ([4, 6] as const);
  const destinations = await resolveDestinations(question.to, question.namespace, families, sources);
  const all: Explained[] = [];
  for (const to of destinations) {
    const family = familyOf(to.address);
    const source = from.addresses.find((one) => familyOf(one) === family);
    if (from.addresses.length > 0 && source === undefined)
      throw new UsageError(`--from ${question.from} has no IPv${family} address to call ${to.address} with`);
    const packet = makePacket({ family, source, to, link: question.interface }, reader.view);
    const kernel = await reader.kernel(family, sources, context);
    all.push(await explainOne({ from, to, packet }, { kernel, node: reader.view, sources }));
  }
  return all;
}

function familyOf(address: string): IpFamily {
  return address.includes(':') ? 6 : 4;
}

function makePacket(
  asked: { family: IpFamily; source: string | undefined; to: ResolvedDestination; link: string | undefined },
  node: KernelNodeView,
): TracedPacket {
  const { family, to, link } = asked;
  const source = asked.source ?? node.sourceFor(to.address) ?? '';
  const own = source === '' || node.isLocal(source);
  return {
    family,
    protocol: to.protocol,
    source,
    destination: to.address,
    destinationPort: to.port,
    inputInterface: link ?? (own ? '' : (node.linkTo(source) ?? '')),
  };
}

async function explainOne(
  { from, to, packet }: { from: ResolvedSource; to: ResolvedDestination; packet: TracedPacket },
  { kernel, node, sources }: { kernel: KernelView | undefined; node: KernelNodeView; sources: Sources },
): Promise<Explained> {
  const { expectations } = sources;
  const origin = expectations?.origin ?? 'kernel';
  if (packet.source === '')
    return { ...explainUnroutable(packet, sources.mode), from, to, origin, pods: {}, notes: [] };
  const { family, destination: address, destinationPort: port } = packet;
  const expected = expectations?.families.includes(family)
    ? {
        mode: expectations.mode,
        options: expectations.options(family),
        plans: await expectations.plans(family, { address, port }),
      }
    : undefined;
  if (!expected && !kernel)
    throw new Error(
      expectations
        ? `the proxy does not serve IPv${family} on this node`
        : `nothing to explain: no proxy runs in this network namespace, ${sources.apiError}, and the kernel has no rules of a proxy`,
    );
  const explanation = explainPacket(packet, node, { expected, kernel });
  const notes: string[] = [];
  if (from.node !== undefined && expectations && from.node !== expectations.nodeName)
    notes.push(
      `${from.name} runs on node ${from.node}: its packets meet the rules of that node, not of ${expectations.nodeName}`,
    );
  if (!expectations)
    notes.push(`no proxy runs in this network namespace, and ${sources.apiError}: only the kernel was read`);
  const pods = await podsOf(explanation, sources);
  return { ...explanation, from, to, origin, pods, notes };
}

/** Names of the pods behind the candidates, as far as the API server tells. */
async function podsOf({ service, candidates }: Explanation, { client }: Sources): Promise<Record<string, string>> {
  if (!client || !service || candidates.length === 0) return {};
  const [namespace = '', name] = service.service.split('/');
  const options = { namespace, labelSelector: `kubernetes.io/service-name=${name}`, signal: AbortSignal.timeout(3000) };
  const slices = await client.list(resources.endpointslices, options).catch(() => undefined);
  const pairs = (slices?.items ?? []).flatMap((slice) =>
    (slice.endpoints ?? []).flatMap(({ addresses, targetRef }) =>
      targetRef?.kind === 'Pod'
        ? addresses.map((address) => [address, `${targetRef.namespace}/${targetRef.name}`])
        : [],
    ),
  );
  return Object.fromEntries(pairs);
}
