import type { Clock, Timer } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { type HttpServer, ListenError } from '../../wire/http/index.ts';
import { splitBindAddress } from '../configuration.ts';
import { ProxyError } from '../errors.ts';

/** Time between tries to listen on an address that is taken, milliseconds. As upstream. */
const retryMs = 5_000;

/** What a kept server is made of. */
export interface KeptServerOptions {
  /** For the log. */
  what: string;
  make: () => HttpServer;
  clock: Clock;
  log: Logger;
  /** Told of an address that cannot be listened on, once for each address. */
  onFailure: (address: string, error: unknown) => void;
}

/** A server that is kept on an address, which may change: what is in the way is tried again every five seconds. */
export class KeptServer {
  readonly #options: KeptServerOptions;
  #server: HttpServer | undefined;
  #address = '';
  #told = '';
  #timer: Timer | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: KeptServerOptions) {
    this.#options = options;
  }

  /**
   * Listens on another address (empty: on none) and lets go of the one before, when that works.
   * @throws ProxyError PORT_TAKEN with `hardFail`, when it cannot be listened on; without, it is tried again later
   */
  move(address: string, { hardFail = false }: { hardFail?: boolean } = {}): Promise<void> {
    const next = this.#last.catch(() => {}).then(() => this.#move(address, hardFail));
    this.#last = next;
    return next;
  }
  async close(): Promise<void> {
    await this.move('');
  }

  async #move(address: string, hardFail: boolean): Promise<void> {
    this.#timer?.cancel();
    if (address === this.#address && (this.#server || address === '')) return;
    const before = this.#server;
    // The same port on another address of the node may be in the way of itself.
    const sameNumber = before && splitBindAddress(address)?.port === splitBindAddress(this.#address)?.port;
    if (sameNumber || address === '') await before?.close();
    this.#address = address;
    this.#server = undefined;
    if (address === '') return;
    try {
      this.#server = await listenAnywhere(this.#options.make, address);
      this.#told = '';
    } catch (cause) {
      this.#onFailure(address, cause);
      if (hardFail) throw new ProxyError('PORT_TAKEN', address, (cause as Error).message, { cause });
      this.#timer = this.#options.clock.after(retryMs, () => void this.move(address));
    } finally {
      if (!sameNumber) await before?.close();
    }
  }

  #onFailure(address: string, error: unknown): void {
    if (this.#told === address) return;
    this.#told = address;
    this.#options.log.error('cannot serve', { what: this.#options.what, address, error });
    this.#options.onFailure(address, error);
  }
}

/** Listens on `host:port`. As Go programs do, 0.0.0.0 stands for the addresses of both families. */
async function listenAnywhere(make: () => HttpServer, address: string): Promise<HttpServer> {
  const where = splitBindAddress(address);
  if (!where) throw new ProxyError('INVALID_CONFIGURATION', address, 'is not an address with a port');
  const hosts = ['0.0.0.0', '::'].includes(where.host) ? ['::', '0.0.0.0'] : [where.host];
  for (const [index, host] of hosts.entries()) {
    const server = make();
    try {
      await server.listen({ host, port: where.port });
      return server;
    } catch (error) {
      const noFamily = error instanceof ListenError && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(error.code);
      if (!noFamily || index === hosts.length - 1) throw error;
    }
  }
  throw new ProxyError('PORT_TAKEN', address, 'cannot be listened on');
}
