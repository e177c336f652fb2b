import { ipToBytes, isNetlinkError, parsePrefix } from '../../../host/netlink/index.ts';
import {
  bitwise,
  compare,
  destinationNat,
  type Expression,
  type FieldType,
  loadAddressType,
  loadImmediate,
  loadMeta,
  loadPayload,
  lookup,
  masquerade,
  NftablesBatch,
  NftablesSocket,
  type SetElement,
  type TableName,
  verdict,
} from '../../../host/nftables/index.ts';
import type { BridgeRules, RuleWriter } from './bridge-rules.ts';
import type { HostPort } from './host-ports.ts';

/** Where the addresses of a family are in its header, and how the kernel calls it. */
const facts = {
  4: { name: 'ip', type: 'ipv4_addr', length: 4, source: 12, destination: 16, protocol: 2, any: '0.0.0.0' },
  6: { name: 'ip6', type: 'ipv6_addr', length: 16, source: 8, destination: 24, protocol: 10, any: '::' },
} as const;
type Family = keyof typeof facts;
const families = [4, 6] as const;
const protocolNumber = { tcp: 6, udp: 17, sctp: 132 } as const;

/** Rules in a table of their own, written over netlink: the first time all, then only the elements that change. */
export class NftablesRules implements RuleWriter {
  readonly kind = 'nftables';
  readonly #table: TableName;
  readonly #socket: NftablesSocket;
  /** What the kernel holds: the rules but the ports, as text, and the elements by set. */
  #frame = '';
  #elements = new Map<string, Map<string, SetElement>>();

  /** @throws NetlinkError when the kernel has no nf_tables, or none for tables of both families */
  constructor(bridge: string) {
    this.#table = { family: 'inet', name: `deckhand-${bridge}` };
    this.#socket = new NftablesSocket();
    try {
      this.#socket.generation();
      const probe: TableName = { family: 'inet', name: `deckhand-probe-${process.pid}` };
      this.#socket.commit(new NftablesBatch().addTable(probe).deleteTable(probe), 'try a table');
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  async apply(rules: BridgeRules): Promise<void> {
    const frame = JSON.stringify([rules.bridge, rules.ranges, rules.loopback6]);
    const wanted = elementsOf(rules.ports);
    if (frame === this.#frame) {
      try {
        return this.#change(wanted);
      } catch (error) {
        // Somebody has taken the table or an element away: written anew as a whole.
        if (!isNetlinkError(error)) throw error;
      }
    }
    this.#write(rules, wanted);
    this.#frame = frame;
  }

  intact(): boolean {
    return this.#frame === '' || this.#socket.findTable(this.#table) !== undefined;
  }

  async remove(): Promise<void> {
    const batch = new NftablesBatch().addTable(this.#table).deleteTable(this.#table);
    this.#socket.commit(batch, 'remove the rules of the bridge');
    this.#frame = '';
    this.#elements.clear();
  }

  #change(wanted: Map<string, Map<string, SetElement>>): void {
    const batch = new NftablesBatch();
    for (const [set, elements] of wanted) {
      const there = this.#elements.get(set) ?? new Map<string, SetElement>();
      const isSame = (key: string, one: SetElement) => there.get(key)?.value?.equals(one.value ?? Buffer.alloc(0));
      const gone = [...there].filter(
        ([key, one]) => !elements.get(key) || (one.value && !isSame(key, elements.get(key)!)),
      );
      const added = [...elements].filter(([key, one]) => !there.has(key) || (one.value && !isSame(key, one)));
      if (gone.length > 0)
        batch.deleteElements(
          this.#table,
          set,
          gone.map(([, { key }]) => ({ key })),
        );
      if (added.length > 0)
        batch.addElements(
          this.#table,
          set,
          added.map(([, element]) => element),
        );
    }
    this.#socket.commit(batch, 'change host ports');
    this.#elements = wanted;
  }

  #write(rules: BridgeRules, wanted: Map<string, Map<string, SetElement>>): void {
    const table = this.#table;
    const batch = new NftablesBatch().addTable(table).deleteTable(table).addTable(table);
    for (const family of families) {
      const { type } = facts[family];
      const key: FieldType[] = [type, 'inet_proto', 'inet_service'];
      batch.addSet(table, { name: `ports${family}`, key, value: [type, 'inet_service'] });
      batch.addSet(table, { name: `self${family}`, key: [type, type] });
    }
    for (const [set, elements] of wanted) if (elements.size > 0) batch.addElements(table, set, elements.values());
    const chain = (name: string, list: [comment: string, steps: Expression[]][]) => {
      for (const [comment, steps] of list) batch.addRule(table, name, steps, comment);
    };
    batch.addChain(table, 'host-ports');
    batch.addChain(table, 'guard', { type: 'filter', hook: 'prerouting', priority: -300 });
    batch.addChain(table, 'prerouting', { type: 'nat', hook: 'prerouting', priority: -100 });
    batch.addChain(table, 'output', { type: 'nat', hook: 'output', priority: -100 });
    batch.addChain(table, 'postrouting', { type: 'nat', hook: 'postrouting', priority: 100 });
    chain('host-ports', families.flatMap(portRules));
    chain('guard', [
      [
        'loopback addresses from pods',
        [...link('iifname', rules.bridge), ...prefix(4, 'destination', '127.0.0.0/8'), verdict({ code: 'drop' })],
      ],
    ]);
    const toPorts = [...local(), verdict({ code: 'jump', chain: 'host-ports' })];
    chain('prerouting', [['host ports', toPorts]]);
    const skip6 = [...prefix(6, 'destination', '::1/128'), verdict({ code: 'return' })];
    chain('output', [
      ...(rules.loopback6 ? [] : [['no way back to [::1]', skip6] as [string, Expression[]]]),
      ['host ports', toPorts],
    ]);
    chain('postrouting', postRules(rules));
    this.#socket.commit(batch, 'write the rules of the bridge');
    this.#elements = wanted;
  }
}

/** Elements of all sets: host ports by address, protocol and port; and pods that may reach themselves by one. */
function elementsOf(ports: readonly HostPort[]): Map<string, Map<string, SetElement>> {
  const sets = new Map<string, Map<string, SetElement>>();
  for (const family of families) {
    const own = ports.filter((port) => port.family === family);
    const to = own.map(({ hostAddress, protocol, hostPort, podAddress, podPort }) => ({
      key: Buffer.concat([
        ipToBytes(hostAddress || facts[family].any),
        field(protocolNumber[protocol], 1),
        field(hostPort, 2),
      ]),
      value: Buffer.concat([ipToBytes(podAddress), field(podPort, 2)]),
    }));
    const self = own.map(({ podAddress }) => ({ key: Buffer.concat([ipToBytes(podAddress), ipToBytes(podAddress)]) }));
    sets.set(`ports${family}`, new Map(to.map((one) => [one.key.toString('latin1'), one])));
    sets.set(`self${family}`, new Map(self.map((one) => [one.key.toString('latin1'), one])));
  }
  return sets;
}

/** A number in network order at the start of four bytes. */
function field(value: number, length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUIntBE(value, 0, length);
  return bytes;
}

function portRules(family: Family): [string, Expression[]][] {
  const { name, length, destination, any } = facts[family];
  const [protocol, port] = [length / 4, length / 4 + 1];
  const rest = [
    loadMeta(protocol, 'l4proto'),
    loadPayload(port, { base: 'transport', offset: 2, length: 2 }),
    lookup(`ports${family}`, 0, { to: 0 }),
    destinationNat(name, 0, length / 4),
  ];
  return [
    [
      'on one address',
      [...isFamily(family), loadPayload(0, { base: 'network', offset: destination, length }), ...rest],
    ],
    ['on all addresses', [...isFamily(family), loadImmediate(0, ipToBytes(any)), ...rest]],
  ];
}

function postRules({ bridge, ranges }: BridgeRules): [string, Expression[]][] {
  const perFamily = families.flatMap((family): [string, Expression[]][] => {
    const { length, source, destination } = facts[family];
    const loopback = prefix(family, 'source', family === 4 ? '127.0.0.0/8' : '::1/128');
    const both = [
      loadPayload(0, { base: 'network', offset: source, length }),
      loadPayload(length / 4, { base: 'network', offset: destination, length }),
    ];
    return [
      ['the node by a loopback address', [...link('oifname', bridge), ...loopback, masquerade()]],
      ['a pod that reached itself', [...isFamily(family), ...both, lookup(`self${family}`, 0), masquerade()]],
    ];
  });
  const outside = ranges.map(({ family, cidr }): [string, Expression[]] => [
    'pods to the outside',
    [
      ...link('oifname', bridge, 'not'),
      ...prefix(family, 'source', cidr),
      ...prefix(family, 'destination', family === 4 ? '224.0.0.0/4' : 'ff00::/8', 'not'),
      masquerade(),
    ],
  ]);
  return [...perFamily, ...outside];
}

function isFamily(family: Family): Expression[] {
  return [loadMeta(0, 'nfproto'), compare(0, Buffer.from([facts[family].protocol]))];
}

function link(key: 'iifname' | 'oifname', name: string, how: 'equal' | 'not' = 'equal'): Expression[] {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return [loadMeta(0, key), compare(0, bytes, how)];
}

/** Goes on when the destination is an address of this machine. */
function local(): Expression[] {
  const type = Buffer.alloc(4);
  type.writeUInt32LE(2);
  return [loadAddressType(0, 'destination'), compare(0, type)];
}

function prefix(
  family: Family,
  of: 'source' | 'destination',
  cidr: string,
  how: 'equal' | 'not' = 'equal',
): Expression[] {
  const { bytes, prefixLength } = parsePrefix(cidr);
  const mask = Buffer.from(bytes.map((_, at) => (0xff00 >> Math.min(8, Math.max(0, prefixLength - at * 8))) & 0xff));
  const network = Buffer.from(bytes.map((byte, at) => byte & mask[at]!));
  return [
    ...isFamily(family),
    loadPayload(0, { base: 'network', offset: facts[family][of], length: bytes.length }),
    bitwise(0, mask, Buffer.alloc(mask.length)),
    compare(0, network, how),
  ];
}
