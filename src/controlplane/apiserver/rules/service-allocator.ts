import { randomInt } from 'node:crypto';
import type { Registry } from '../extension-points.ts';
import {
  type AddressRange,
  addressAt,
  type IpFamily,
  numberToAddress,
  parseRange,
  rangeHolds,
} from './address-range.ts';

/** What may be given out. */
export interface AllocatorOptions {
  /** Ranges of cluster addresses, at most one of a family; the first is the primary one. */
  serviceCidrs: readonly string[];
  /** First and last node port. Default 30000 and 32767. */
  nodePorts?: readonly [number, number];
}

/** Why something asked for cannot be had. */
export class AllocationError extends Error {}

/** How often a free number is sought by chance before the whole band is looked through. */
const tries = 16;

/** The random choice starts above a lower band, so that addresses and ports asked for by number are likely free there. */
function bandSize(size: number, divisor: number, most: number): number {
  return Math.min(Math.max(16, Math.floor(size / divisor)), most, size);
}

/**
 * Knows which cluster addresses and node ports are taken. What the store holds decides: it follows the committed Services,
 * and keeps reservations of writes that are under way until they are seen in the store or given back.
 */
export class ServiceAllocator {
  readonly ranges: readonly AddressRange[];
  readonly #ports: readonly [number, number];
  /** Value (an address, or a port as text) to the key of its Service. */
  readonly #owners = new Map<string, string>();
  readonly #committed = new Map<string, Set<string>>();
  readonly #reserved = new Map<string, string>();

  constructor(options: AllocatorOptions) {
    this.ranges = options.serviceCidrs.map(parseRange);
    this.#ports = options.nodePorts ?? [30_000, 32_767];
  }

  /** Takes over what the store holds, and follows it from now on. */
  follow(registry: Registry): () => void {
    for (const service of registry.list('services')) this.#note(keyOf(service), valuesOf(service));
    return registry.subscribe('services', ({ type, object }) => {
      this.#note(keyOf(object), type === 'DELETED' ? [] : valuesOf(object));
    });
  }

  #note(key: string, values: string[]): void {
    const now = new Set(values);
    for (const value of this.#committed.get(key) ?? []) {
      if (!now.has(value) && this.#reserved.get(value) !== key) this.#owners.delete(value);
    }
    for (const value of now) {
      this.#owners.set(value, key);
      this.#reserved.delete(value);
    }
    if (now.size === 0) this.#committed.delete(key);
    else this.#committed.set(key, now);
  }

  #reserve(value: string, key: string): void {
    this.#owners.set(value, key);
    if (!this.#committed.get(key)?.has(value)) this.#reserved.set(value, key);
  }

  /** Gives back what was reserved for a write that failed; what the store holds stays. */
  release(values: readonly string[], key: string): void {
    for (const value of values) {
      if (this.#reserved.get(value) !== key) continue;
      this.#reserved.delete(value);
      if (!this.#committed.get(key)?.has(value)) this.#owners.delete(value);
    }
  }

  /** The range of a family. */
  rangeOf(family: IpFamily): AddressRange | undefined {
    return this.ranges.find((range) => range.family === family);
  }

  /** Reserves an address that was asked for. @throws AllocationError when it is taken or in no range */
  takeAddress(address: string, key: string): void {
    if (!this.ranges.some((range) => rangeHolds(range, address))) {
      const list = this.ranges.map(({ cidr }) => cidr).join(', ');
      throw new AllocationError(`provided IP is not in the valid range. The range of valid IPs is ${list}`);
    }
    const owner = this.#owners.get(address);
    if (owner !== undefined && owner !== key) throw new AllocationError('provided IP is already allocated');
    this.#reserve(address, key);
  }

  /** Reserves any free address of a family. @throws AllocationError when the range is full */
  anyAddress(family: IpFamily, key: string): string {
    const range = this.rangeOf(family);
    if (!range) throw new AllocationError(`no range of family ${family} is configured`);
    // The network's own address is never given out, nor IPv4's broadcast address.
    const last = Number(range.size < 65_536n ? range.size : 65_536n) - 1 - (family === 'IPv4' ? 1 : 0);
    const band = last > 16 ? bandSize(last, 16, 256) : 0;
    const free = (index: number) => !this.#owners.has(addressAt(range, index));
    const index = pick(band + 1, last, free) ?? pick(1, band, free);
    if (index === undefined) throw new AllocationError('range is full');
    const address = numberToAddress(range.base + BigInt(index), family);
    this.#reserve(address, key);
    return address;
  }

  /** Reserves a node port that was asked for. @throws AllocationError when it is taken or out of range */
  takePort(port: number, key: string): void {
    const [first, last] = this.#ports;
    if (port < first || port > last) {
      throw new AllocationError(
        `provided port is not in the valid range. The range of valid ports is ${first}-${last}`,
      );
    }
    const owner = this.#owners.get(String(port));
    if (owner !== undefined && owner !== key) throw new AllocationError('provided port is already allocated');
    this.#reserve(String(port), key);
  }

  /** Reserves any free node port. @throws AllocationError when all are taken */
  anyPort(key: string): number {
    const [first, last] = this.#ports;
    const band = bandSize(last - first + 1, 32, 128);
    const free = (port: number) => !this.#owners.has(String(port));
    const port = pick(first + band, last, free) ?? pick(first, first + band - 1, free);
    if (port === undefined) throw new AllocationError('range is full');
    this.#reserve(String(port), key);
    return port;
  }
}

/** A free number between two, both included: by chance first, then the first one. */
function pick(first: number, last: number, free: (value: number) => boolean): number | undefined {
  if (last < first) return undefined;
  for (let attempt = 0; attempt < tries; attempt++) {
    const value = randomInt(first, last + 1);
    if (free(value)) return value;
  }
  for (let value = first; value <= last; value++) if (free(value)) return value;
  return undefined;
}

const keyOf = (service: any): string => `${service.metadata.namespace}/${service.metadata.name}`;

/** The addresses and ports that a Service holds. */
export function valuesOf(service: any): string[] {
  const { spec = {} } = service;
  const addresses = (spec.clusterIPs ?? []).filter((one: string) => one && one !== 'None');
  const ports = (spec.ports ?? []).map(({ nodePort }: any) => nodePort).filter(Boolean);
  if (spec.healthCheckNodePort) ports.push(spec.healthCheckNodePort);
  return [...addresses, ...ports.map(String)];
}
