import {
  attributeString,
  eachAttribute,
  isNetlinkError,
  NetlinkError,
  NetlinkSocket,
  readAttributes,
} from '../netlink/index.ts';
import { header, type NftablesBatch, type TableName } from './batch.ts';
import { nftFamily, nftMessage } from './constants.ts';
import { readVerdict } from './decode.ts';
import type { SetElement } from './types.ts';

/** A chain as the kernel lists it. */
export interface ListedChain {
  name: string;
  /** Whether it is hooked in. */
  base: boolean;
  /** What becomes of packets that no rule of a base chain decides on. */
  policy: 'accept' | 'drop';
}

/** A rule as the kernel lists it. */
export interface ListedRule {
  chain: string;
  handle: bigint;
  comment: string;
}

/** nf_tables over netlink: transactions and listings. One netlink socket, used synchronously. */
export class NftablesSocket {
  readonly #socket: NetlinkSocket;

  /** Opens a socket in the thread's network namespace or the given one. @throws NetlinkError */
  constructor(options: { namespace?: string | number } = {}) {
    this.#socket = new NetlinkSocket({ protocol: 'netfilter', ...options, receiveBufferBytes: 4 * 1024 * 1024 });
  }

  /**
   * Does all of the batch or nothing.
   * @throws NetlinkError for the first change that the kernel refused; its subject says which
   */
  commit(batch: NftablesBatch, subject: string): void {
    if (batch.size === 0) return;
    const [first] = this.#socket.sendBatch(batch.finish(), subject);
    if (!first) return;
    const { errno, sequence, kernelMessage } = first;
    throw new NetlinkError(errno, `${subject}: ${batch.describe(sequence)}`, { sequence, kernelMessage });
  }

  /** The number of the last change to any table of the namespace. */
  generation(): number {
    const [message] = this.#socket.request(
      nftMessage.getGeneration,
      0,
      (writer) => writer.bytes(header(0, 0)),
      'read the generation',
    );
    return message ? (readAttributes(message.payload, 4).get(1)?.readUInt32BE(0) ?? 0) : 0;
  }

  /** The table's comment (empty without one); undefined when there is no such table. */
  findTable(table: TableName): { comment: string } | undefined {
    try {
      const [message] = this.#socket.request(
        nftMessage.getTable,
        0,
        (writer) => writer.bytes(header(nftFamily[table.family], 0)).string(1, table.name),
        `find table ${table.name}`,
      );
      return message && { comment: readComment(readAttributes(message.payload, 4).get(6)) };
    } catch (error) {
      if (isNetlinkError(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** Names of the tables of one family. */
  listTables(family: TableName['family']): string[] {
    return this.#dump(nftMessage.getTable, family, () => {}, 'list tables').map((attributes) =>
      attributeString(attributes.get(1)),
    );
  }

  /** The chains of a table. */
  listChains(table: TableName): ListedChain[] {
    return this.#dump(nftMessage.getChain, table.family, () => {}, `list chains of ${table.name}`)
      .filter((attributes) => attributeString(attributes.get(1)) === table.name)
      .map((attributes) => ({
        name: attributeString(attributes.get(3)),
        base: attributes.has(4),
        policy: attributes.get(5)?.readUInt32BE(0) === 0 ? 'drop' : 'accept',
      }));
  }

  /** The rules of a table, in order. */
  listRules(table: TableName): ListedRule[] {
    const write = (writer: { string(type: number, value: string): unknown }) => writer.string(1, table.name);
    return this.#dump(nftMessage.getRule, table.family, write, `list rules of ${table.name}`)
      .filter((attributes) => attributeString(attributes.get(1)) === table.name)
      .map((attributes) => ({
        chain: attributeString(attributes.get(2)),
        handle: attributes.get(3)?.readBigUInt64BE(0) ?? 0n,
        comment: readComment(attributes.get(7)),
      }));
  }

  /** The names of a table's sets and maps. */
  listSets(table: TableName): string[] {
    const write = (writer: { string(type: number, value: string): unknown }) => writer.string(1, table.name);
    return this.#dump(nftMessage.getSet, table.family, write, `list sets of ${table.name}`).map((attributes) =>
      attributeString(attributes.get(2)),
    );
  }

  /** The elements of one set or map, in no order. */
  *listElements(table: TableName, set: string): Generator<SetElement> {
    const messages = this.#socket.dump(
      nftMessage.getElement,
      (writer) => writer.bytes(header(nftFamily[table.family], 0)).string(1, table.name).string(2, set),
      `list elements of ${set}`,
    );
    for (const { payload } of messages) {
      const list = readAttributes(payload, 4).get(3);
      if (!list) continue;
      for (const [, element] of eachAttribute(list)) yield readElement(element);
    }
  }

  close(): void {
    this.#socket.close();
  }

  #dump(type: number, family: TableName['family'], write: (writer: any) => void, subject: string) {
    return this.#socket
      .dump(
        type,
        (writer) => {
          writer.bytes(header(nftFamily[family], 0));
          write(writer);
        },
        subject,
      )
      .map((message) => readAttributes(message.payload, 4));
  }
}

/** Reads an element as the kernel gives it. */
export function readElement(bytes: Buffer): SetElement {
  const attributes = readAttributes(bytes);
  const data = (type: number): Buffer | undefined => {
    const nested = attributes.get(type);
    return nested && readAttributes(nested).get(1);
  };
  const element: SetElement = { key: data(1) ?? Buffer.alloc(0) };
  const keyEnd = data(10);
  if (keyEnd) element.keyEnd = keyEnd;
  const value = attributes.get(2);
  if (value) {
    const parts = readAttributes(value);
    if (parts.has(1)) element.value = parts.get(1);
    else if (parts.has(2)) element.verdict = readVerdict(parts.get(2)!);
  }
  const expires = attributes.get(5);
  if (expires) element.expiresMs = Number(expires.readBigUInt64BE(0));
  return element;
}

/** Reads the comment that the nft program, or we, left with an object. */
export function readComment(userData: Buffer | undefined): string {
  if (!userData || userData.length < 3 || userData[0] !== 0) return '';
  return attributeString(userData.subarray(2, 2 + userData[1]!));
}
