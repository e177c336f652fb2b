import {
  attributeString,
  isNetlinkError,
  type MessageWriter,
  NetlinkSocket,
  readAttributes,
} from '../netlink/index.ts';
import { type ChainHook, header, type TableName } from './batch.ts';
import { hookNumber, nftFamily, nftMessage } from './constants.ts';
import { type DecodedExpression, decodeExpressions } from './decode.ts';
import { readComment, readElement } from './socket.ts';
import type { SetElement } from './types.ts';

/** A rule with what it does, as the kernel holds it. */
export interface InspectedRule {
  comment: string;
  handle: bigint;
  steps: DecodedExpression[];
}

/** A chain with its rules, as the kernel holds it. */
export interface InspectedChain {
  name: string;
  /** Where it is hooked in; undefined for a chain that others lead to. */
  hook?: ChainHook;
  rules: InspectedRule[];
}

const hookNames = Object.keys(hookNumber) as (keyof typeof hookNumber)[];

/** Reads what a table really does: chains with decoded rules, single elements. Changes nothing. */
export class NftablesInspector {
  readonly #socket: NetlinkSocket;

  /** @throws NetlinkError */
  constructor(options: { namespace?: string | number } = {}) {
    this.#socket = new NetlinkSocket({ protocol: 'netfilter', ...options, receiveBufferBytes: 4 * 1024 * 1024 });
  }

  /** The chains of a table, by name, with their rules in order; undefined when there is no such table. */
  chains(table: TableName): Map<string, InspectedChain> | undefined {
    const chains = new Map<string, InspectedChain>();
    if (!this.#hasTable(table)) return undefined;
    for (const { payload } of this.#dump(nftMessage.getChain, table, () => {}, `list chains of ${table.name}`)) {
      const attributes = readAttributes(payload, 4);
      if (attributeString(attributes.get(1)) !== table.name) continue;
      const name = attributeString(attributes.get(3));
      chains.set(name, { name, hook: readHook(attributes), rules: [] });
    }
    const select = (writer: MessageWriter) => writer.string(1, table.name);
    for (const { payload } of this.#dump(nftMessage.getRule, table, select, `list rules of ${table.name}`)) {
      const attributes = readAttributes(payload, 4);
      if (attributeString(attributes.get(1)) !== table.name) continue;
      chains.get(attributeString(attributes.get(2)))?.rules.push({
        comment: readComment(attributes.get(7)),
        handle: attributes.get(3)?.readBigUInt64BE(0) ?? 0n,
        steps: decodeExpressions(attributes.get(4) ?? Buffer.alloc(0)),
      });
    }
    return chains;
  }

  /** One element of a set or map: what the key falls into; undefined when nothing does, or there is no such set. */
  element(table: TableName, set: string, key: Buffer): SetElement | undefined {
    try {
      const [message] = this.#socket.request(
        nftMessage.getElement,
        0,
        (writer) => {
          writer.bytes(header(nftFamily[table.family], 0)).string(1, table.name).string(2, set);
          writer.nest(3, () => writer.nest(1, () => writer.nest(1, () => writer.attribute(1, key))));
        },
        `look an element of ${set} up`,
      );
      const list = message && readAttributes(message.payload, 4).get(3);
      const element = list && readAttributes(list).get(1);
      return element && readElement(element);
    } catch (error) {
      if (isNetlinkError(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  close(): void {
    this.#socket.close();
  }

  #hasTable(table: TableName): boolean {
    try {
      const write = (writer: MessageWriter) => writer.bytes(header(nftFamily[table.family], 0)).string(1, table.name);
      this.#socket.request(nftMessage.getTable, 0, write, `find table ${table.name}`);
      return true;
    } catch (error) {
      if (isNetlinkError(error, 'ENOENT')) return false;
      throw error;
    }
  }
  #dump(type: number, table: TableName, write: (writer: MessageWriter) => void, subject: string) {
    return this.#socket.dump(
      type,
      (writer) => {
        writer.bytes(header(nftFamily[table.family], 0));
        write(writer);
      },
      subject,
    );
  }
}

function readHook(attributes: Map<number, Buffer>): ChainHook | undefined {
  const nested = attributes.get(4);
  if (!nested) return undefined;
  const hook = readAttributes(nested);
  return {
    type: attributeString(attributes.get(7)) === 'nat' ? 'nat' : 'filter',
    hook: hookNames[hook.get(1)?.readUInt32BE(0) ?? 0]!,
    priority: hook.get(2)?.readInt32BE(0) ?? 0,
    policy: attributes.get(5)?.readUInt32BE(0) === 0 ? 'drop' : 'accept',
  };
}
