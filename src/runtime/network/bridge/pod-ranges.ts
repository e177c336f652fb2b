import { AddressPool } from './address-pool.ts';

/**
 * The ranges of pod addresses: one of a family, the primary family first. A range that is replaced stays until its last
 * pod is gone: those pods keep their addresses and their gateway.
 */
export class PodRanges {
  #current: AddressPool[] = [];
  #retired: AddressPool[] = [];

  /** Whether pods can be given addresses. */
  get known(): boolean {
    return this.#current.length > 0;
  }
  /** Those that new pods get addresses of. */
  get current(): readonly AddressPool[] {
    return this.#current;
  }
  /** Those, and the ones of which old pods have addresses. */
  get all(): readonly AddressPool[] {
    return [...this.#current, ...this.#retired.filter(({ used }) => used > 0)];
  }

  /** Sets the ranges. Gives whether that changed anything. @throws Error for a range that cannot be used */
  set(cidrs: readonly string[]): boolean {
    const pools = cidrs.map((cidr) => new AddressPool(cidr));
    for (const family of [4, 6])
      if (pools.filter((pool) => pool.family === family).length > 1)
        throw new Error(`pod ranges "${cidrs.join(',')}": at most one of each family`);
    if (pools.map(({ cidr }) => cidr).join() === this.#current.map(({ cidr }) => cidr).join()) return false;
    const before = [...this.#current, ...this.#retired];
    this.#current = pools.map((pool) => before.find(({ cidr }) => cidr === pool.cidr) ?? pool);
    this.#retired = before.filter((pool) => !this.#current.includes(pool));
    return true;
  }

  /**
   * Takes addresses that pods have. An address outside of all ranges belongs to one of an earlier run: one of `others`.
   */
  adopt(addresses: readonly string[], others: readonly string[] = []): void {
    for (const address of addresses) {
      const pools = [...this.#current, ...this.#retired];
      if (!pools.some((pool) => pool.contains(address))) {
        const cidr = others.find((one) => isRangeOf(one, address));
        if (cidr) this.#retired.push(new AddressPool(cidr));
      }
      for (const pool of [...this.#current, ...this.#retired]) pool.adopt(address);
    }
  }

  /** Takes one address of each current range. @throws Error when one of them has none */
  take(): string[] {
    const taken: string[] = [];
    try {
      for (const pool of this.#current) {
        // A range may have been cut out of, or grown from, one whose pods are still there.
        let address = pool.take();
        while (this.#retired.some((old) => old.has(address))) address = pool.take();
        taken.push(address);
      }
      return taken;
    } catch (cause) {
      this.release(taken);
      throw cause;
    }
  }
  release(addresses: readonly string[]): void {
    for (const address of addresses)
      for (const pool of [...this.#current, ...this.#retired]) if (pool.contains(address)) pool.release(address);
    this.#retired = this.#retired.filter(({ used }) => used > 0);
  }
  /** The gateway of an address: of the current range if that has it. */
  gatewayOf(address: string): string {
    return [...this.#current, ...this.#retired].find((pool) => pool.contains(address))?.gateway ?? '';
  }

  /** Where each range's search for a free address goes on, to be given to a next run. */
  positions(): Record<string, number> {
    return Object.fromEntries(this.#current.map(({ cidr, next }) => [cidr, next]));
  }
  restore(positions: Readonly<Record<string, number>>): void {
    for (const pool of this.#current) pool.next = positions[pool.cidr] ?? pool.next;
  }
}

function isRangeOf(cidr: string, address: string): boolean {
  try {
    return new AddressPool(cidr).contains(address);
  } catch {
    return false;
  }
}
