/**
 * The addresses of one IPv4 range. The first is the gateway's; the network's and the broadcast address are not given.
 * An address that was freed comes round again as late as possible, so that old connections die before.
 */
export class AddressPool {
  readonly gateway: string;
  readonly prefixLength: number;
  readonly #first: number;
  readonly #last: number;
  readonly #used = new Set<number>();
  #next: number;

  /** @throws Error when the range is no IPv4 range or too small */
  constructor(cidr: string) {
    const match = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(cidr);
    const prefixLength = Number(match?.[2]);
    if (!match || prefixLength < 8 || prefixLength > 30)
      throw new Error(`pod range "${cidr}" is not an IPv4 range of /8 to /30`);
    const size = 2 ** (32 - prefixLength);
    const base = Math.floor(parseAddress(match[1]!) / size) * size;
    this.prefixLength = prefixLength;
    this.gateway = formatAddress(base + 1);
    this.#first = base + 2;
    this.#last = base + size - 2;
    this.#next = this.#first;
  }

  /** Takes an address that is in use already; the next to be given is the one behind it. */
  adopt(address: string): void {
    const number = parseAddress(address);
    if (number < this.#first || number > this.#last) return;
    this.#used.add(number);
    this.#next = number + 1;
  }

  /** Takes a free address. @throws Error when there is none */
  take(): string {
    for (let tries = this.#last - this.#first + 1; tries > 0; tries--) {
      if (this.#next > this.#last) this.#next = this.#first;
      const number = this.#next++;
      if (this.#used.has(number)) continue;
      this.#used.add(number);
      return formatAddress(number);
    }
    throw new Error('no pod address is free: the range is used up');
  }

  /** Gives an address back. */
  release(address: string): void {
    this.#used.delete(parseAddress(address));
  }
}

/** An IPv4 address as a number. @throws Error when it is none */
export function parseAddress(address: string): number {
  const parts = address.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
    throw new Error(`${address} is not an IPv4 address`);
  return parts.reduce((number, part) => number * 256 + part, 0);
}

function formatAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}
