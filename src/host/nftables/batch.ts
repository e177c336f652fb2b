import { MessageWriter, messageFlag } from '../netlink/index.ts';
import { hookNumber, nftFamily, nftMessage, setFlag, verdictType } from './constants.ts';
import { type Expression, writeVerdict } from './expressions.ts';
import { fieldsLength, fieldsType, paddedLengths, type SetDeclaration, type SetElement } from './types.ts';

/** A table: family and name. */
export interface TableName {
  family: 'ip' | 'ip6' | 'inet';
  name: string;
}

/** Where a base chain is hooked in. */
export interface ChainHook {
  type: 'filter' | 'nat';
  hook: keyof typeof hookNumber;
  priority: number;
  policy?: 'accept' | 'drop';
}

/** Elements of one message: a list attribute may be 64 KiB long. */
const listBytes = 60_000;

/**
 * Collects changes of tables that take effect together or not at all (one nfnetlink batch). Commit it with
 * {@link NftablesSocket.commit}. Names of objects that the same batch makes can be used at once.
 */
export class NftablesBatch {
  readonly #writer = new MessageWriter({ firstSequence: 1, capacity: 64 * 1024 });
  readonly #steps = new Map<number, string>();
  #setId = 0;
  #count = 0;

  constructor() {
    this.#writer.begin(nftMessage.batchBegin).bytes(header(0, 10));
  }

  /** Changes collected so far. */
  get size(): number {
    return this.#count;
  }
  /** Bytes collected so far. */
  get bytes(): number {
    return this.#writer.length;
  }
  /** What the message with the sequence number was to do. */
  describe(sequence: number): string {
    return this.#steps.get(sequence) ?? 'commit';
  }

  /** Makes the table unless it is there. */
  addTable(table: TableName, comment?: string): this {
    this.#begin(nftMessage.newTable, messageFlag.create, table, `add table ${table.name}`);
    this.#writer.string(1, table.name).be32(2, 0);
    if (comment !== undefined) this.#writer.attribute(6, commentData(0, comment));
    return this;
  }
  /** Removes the table with everything in it. */
  deleteTable(table: TableName): this {
    this.#begin(nftMessage.delTable, 0, table, `delete table ${table.name}`);
    this.#writer.string(1, table.name);
    return this;
  }
  /** Makes the chain unless it is there. */
  addChain(table: TableName, name: string, hook?: ChainHook): this {
    this.#begin(nftMessage.newChain, messageFlag.create, table, `add chain ${name}`);
    const writer = this.#writer.string(1, table.name).string(3, name);
    if (!hook) return this;
    writer.nest(4, () => writer.be32(1, hookNumber[hook.hook]).be32(2, hook.priority));
    writer.be32(5, hook.policy === 'drop' ? 0 : 1).string(7, hook.type);
    return this;
  }
  /** Removes an empty chain that nothing refers to. */
  deleteChain(table: TableName, name: string): this {
    this.#begin(nftMessage.delChain, 0, table, `delete chain ${name}`);
    this.#writer.string(1, table.name).string(3, name);
    return this;
  }
  /** Appends a rule. The comment is kept with it and shown by the nft program. */
  addRule(table: TableName, chain: string, expressions: readonly Expression[], comment?: string): this {
    this.#begin(nftMessage.newRule, messageFlag.create | messageFlag.append, table, `add a rule to ${chain}`);
    const writer = this.#writer.string(1, table.name).string(2, chain);
    writer.nest(4, () => {
      for (const write of expressions) write(writer);
    });
    if (comment !== undefined) writer.attribute(7, commentData(0, comment));
    return this;
  }
  /** Removes all rules of a chain. */
  flushChain(table: TableName, chain: string): this {
    this.#begin(nftMessage.delRule, 0, table, `flush chain ${chain}`);
    this.#writer.string(1, table.name).string(2, chain);
    return this;
  }
  /** Makes the set or map unless it is there. */
  addSet(table: TableName, set: SetDeclaration): this {
    this.#begin(nftMessage.newSet, messageFlag.create, table, `add set ${set.name}`);
    const writer = this.#writer.string(1, table.name).string(2, set.name);
    const concatenated = set.interval && set.key.length > 1;
    const flags =
      (set.interval ? setFlag.interval : 0) |
      (concatenated ? setFlag.concat : 0) |
      (set.value ? setFlag.map : 0) |
      (set.timeout ? setFlag.timeout : 0) |
      (set.dynamic ? setFlag.eval : 0);
    writer.be32(3, flags).be32(4, fieldsType(set.key)).be32(5, fieldsLength(set.key));
    if (set.value === 'verdict') writer.be32(6, verdictType).be32(7, 0);
    else if (set.value) writer.be32(6, fieldsType(set.value)).be32(7, fieldsLength(set.value));
    writer.be32(10, ++this.#setId);
    if (set.size !== undefined || concatenated)
      writer.nest(9, () => {
        if (set.size !== undefined) writer.be32(1, set.size);
        if (!concatenated) return;
        writer.nest(2, () => {
          for (const length of paddedLengths(set.key)) writer.nest(1, () => writer.be32(1, length));
        });
      });
    return this;
  }
  /** Removes a set that no rule refers to. */
  deleteSet(table: TableName, name: string): this {
    this.#begin(nftMessage.delSet, 0, table, `delete set ${name}`);
    this.#writer.string(1, table.name).string(2, name);
    return this;
  }
  /** Adds elements. One that is there with the same value is left alone; with another value the batch fails. */
  addElements(table: TableName, set: string, elements: Iterable<SetElement>): this {
    return this.#elements(nftMessage.newElement, messageFlag.create, table, set, elements, `add elements to ${set}`);
  }
  /** Removes elements; the batch fails when one is not there. */
  deleteElements(table: TableName, set: string, elements: Iterable<SetElement>): this {
    return this.#elements(nftMessage.delElement, 0, table, set, elements, `delete elements of ${set}`);
  }
  /** Removes those of the elements that are there (kernels from 6.3 on). */
  destroyElements(table: TableName, set: string, elements: Iterable<SetElement>): this {
    return this.#elements(nftMessage.destroyElement, 0, table, set, elements, `delete elements of ${set}`);
  }
  /** Removes all elements of a set. */
  flushSet(table: TableName, set: string): this {
    this.#begin(nftMessage.delElement, 0, table, `flush set ${set}`);
    this.#writer.string(1, table.name).string(2, set);
    return this;
  }
  /** Ends the batch and gives its writer, to be sent. */
  finish(): MessageWriter {
    return this.#writer.begin(nftMessage.batchEnd).bytes(header(0, 10));
  }

  #elements(type: number, flags: number, table: TableName, set: string, elements: Iterable<SetElement>, what: string) {
    const iterator = elements[Symbol.iterator]();
    const writer = this.#writer;
    for (let next = iterator.next(); !next.done; ) {
      this.#begin(type, flags, table, what);
      writer
        .string(1, table.name)
        .string(2, set)
        .nest(3, () => {
          const start = writer.length;
          while (!next.done && writer.length - start < listBytes) {
            const element = next.value;
            writer.nest(1, () => writeElement(writer, element));
            this.#count++;
            next = iterator.next();
          }
        });
    }
    return this;
  }
  #begin(type: number, flags: number, table: TableName, what: string): void {
    this.#writer.begin(type, flags).bytes(header(nftFamily[table.family], 0));
    this.#steps.set(this.#writer.sequence, what);
    this.#count++;
  }
}

/** struct nfgenmsg: family, version, resource id. */
export function header(family: number, resource: number): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 0xff]);
}

function writeElement(writer: MessageWriter, { key, keyEnd, value, verdict }: SetElement): void {
  writer.nest(1, () => writer.attribute(1, key));
  if (keyEnd) writer.nest(10, () => writer.attribute(1, keyEnd));
  if (value) writer.nest(2, () => writer.attribute(1, value));
  else if (verdict) writer.nest(2, () => writer.nest(2, () => writeVerdict(writer, verdict)));
}

/** The nft program's way to store a comment: type, length, text, zero byte. */
export function commentData(type: number, text: string): Buffer {
  const bytes = Buffer.from(`${text}\0`);
  if (bytes.length > 128) throw new RangeError(`the comment ${JSON.stringify(text)} is over 127 bytes long`);
  return Buffer.concat([Buffer.from([type, bytes.length]), bytes]);
}
