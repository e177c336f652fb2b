import { ipToBytes } from '../../host/netlink/index.ts';
import {
  decodeSteps,
  fieldsLength,
  type InspectedChain,
  paddedLengths,
  type SetDeclaration,
  type SetElement,
} from '../../host/nftables/index.ts';
import type { BackendOptions } from '../backends/backend.ts';
import {
  chainName,
  type DispatchChain,
  rememberChain,
  renderChain,
  requiredChains,
} from '../backends/nftables/dispatch-chains.ts';
import { destinationBytes, familyFacts, frontendBytes } from '../backends/nftables/keys.ts';
import { baseChains, type ChainPlan, declareSets } from '../backends/nftables/layout.ts';
import { renderPlan } from '../backends/nftables/render.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import type { TracedTable } from './nftables-machine.ts';
import type { Flight } from './packet.ts';

/** The table that the nftables backend writes for these plans, without a kernel. */
export function renderTable(plans: Iterable<ServicePortPlan>, options: BackendOptions): TracedTable {
  const facts = familyFacts[options.family];
  const chains = new Map(renderBaseChains(options).map((chain) => [chain.name, chain]));
  const sets = new Map(declareSets(facts).map((set) => [set.name, new RenderedSet(set)]));
  for (const plan of plans) {
    const rendered = renderPlan(plan, facts);
    for (const chain of rendered.chains)
      if (!chains.has(chainName(chain)))
        for (const made of renderDispatchChains(chain, options)) chains.set(made.name, made);
    for (const { set, element } of rendered.elements) sets.get(set)!.add(element);
  }
  return {
    chains,
    isDynamic: (name) => sets.get(name)?.declaration.dynamic ?? false,
    find: (name, key, flight) => {
      const set = sets.get(name);
      return set?.declaration.dynamic ? findClient(set, key, flight) : set?.find(key);
    },
  };
}

/** The chains that do not depend on Services. */
export function renderBaseChains(options: BackendOptions): InspectedChain[] {
  return baseChains(options).map(decodeChain);
}

/** A chain that elements lead to, with those that it leads to itself. */
export function renderDispatchChains(chain: DispatchChain, options: BackendOptions): InspectedChain[] {
  const own = [renderChain(chain, options)];
  if (chain.affinitySeconds > 0) own.push(rememberChain(chain.affinitySeconds, options));
  return [...requiredChains(chain).flatMap((other) => renderDispatchChains(other, options)), ...own.map(decodeChain)];
}

function decodeChain({ name, hook, rules: planned }: ChainPlan): InspectedChain {
  const rules = planned.map(({ comment, steps }) => ({
    comment,
    handle: 0n,
    steps: decodeSteps(steps),
  }));
  return { name, hook, rules };
}

/** What a table would remember of the packet's client: nothing, or where the packet says that it was before. */
function findClient(set: RenderedSet, key: Buffer, { packet }: Flight): SetElement | undefined {
  if (packet.stayedWith === undefined) return undefined;
  const facts = familyFacts[packet.family];
  const { address, port } = splitEndpoint(packet.stayedWith);
  const frontend = frontendBytes(facts, packet.destination, packet.protocol, packet.destinationPort);
  const expected = Buffer.concat([ipToBytes(packet.source), frontend]);
  if (!expected.equals(key.subarray(0, set.keyLength))) return undefined;
  return { key: expected, value: destinationBytes(facts, address, port) };
}

/** Splits `address:port` and `[address]:port`. */
export function splitEndpoint(text: string): { address: string; port: number } {
  const colon = text.lastIndexOf(':');
  return { address: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** The elements of one set or map, looked up as the kernel does. */
class RenderedSet {
  readonly declaration: SetDeclaration;
  readonly keyLength: number;
  readonly #elements = new Map<string, SetElement>();

  constructor(declaration: SetDeclaration) {
    this.declaration = declaration;
    this.keyLength = fieldsLength(declaration.key);
  }
  add(element: SetElement): void {
    this.#elements.set(element.key.toString('latin1') + (element.keyEnd?.toString('latin1') ?? ''), element);
  }
  find(registers: Buffer): SetElement | undefined {
    const key = registers.subarray(0, this.keyLength);
    if (!this.declaration.interval) return this.#elements.get(key.toString('latin1'));
    for (const element of this.#elements.values()) if (this.#isInside(key, element)) return element;
    return undefined;
  }

  /** A range of a concatenation is a range in each of its fields. */
  #isInside(key: Buffer, { key: first, keyEnd: last = first }: SetElement): boolean {
    const lengths = this.declaration.key.length > 1 ? paddedLengths(this.declaration.key) : [this.keyLength];
    let at = 0;
    return lengths.every((length) => {
      const field = key.subarray(at, at + length);
      const inside =
        field.compare(first.subarray(at, at + length)) >= 0 && field.compare(last.subarray(at, at + length)) <= 0;
      at += length;
      return inside;
    });
  }
}
