import { RuntimeError } from '../errors.ts';
import { type Call, currentCall, stage } from './call.ts';

interface Flight<T> {
  request: T;
  result: Promise<string>;
  /** Who began it. */
  call: Call | undefined;
  /** Everybody who waits for it. */
  waiting: Set<Call | undefined>;
}

/**
 * Makes each name once, however often it is asked for: who asks for what is being made waits for it and gets the same
 * id. What was made for callers who have all gone by then is kept for the one who asks again. So a name never sticks to
 * a call that was slow.
 */
export class Flights<T> {
  readonly #kind: string;
  readonly #same: (left: T, right: T) => boolean;
  readonly #flights = new Map<string, Flight<T>>();
  readonly #unclaimed = new Map<string, { request: T; id: string }>();

  /** @param same whether two requests ask for the same: a name cannot be asked for in two ways at once */
  constructor(kind: string, same: (left: T, right: T) => boolean) {
    this.#kind = kind;
    this.#same = same;
  }

  /**
   * Gives the id of what has the name: of the call that is making it, else of `make`.
   * @throws RuntimeError ALREADY_EXISTS when it is being made in another way
   */
  async join(name: string, request: T, make: () => Promise<string>): Promise<string> {
    const flight = this.#flights.get(name);
    if (!flight) return this.#begin(name, request, make);
    if (!this.#same(flight.request, request))
      throw new RuntimeError(
        'ALREADY_EXISTS',
        `failed to reserve ${this.#kind} name "${name}": a call with another configuration is making it, ${flight.call?.where() ?? ''}`,
      );
    const call = currentCall();
    flight.waiting.add(call);
    return stage('an earlier call', () => flight.result, describe(flight.call));
  }

  /** The id of what was made for a caller who had gone, once. */
  claim(name: string, request: T): string | undefined {
    const found = this.#unclaimed.get(name);
    if (!found || !this.#same(found.request, request)) return undefined;
    this.#unclaimed.delete(name);
    return found.id;
  }

  /** What is no more need not be kept for anybody. */
  forget(id: string): void {
    for (const [name, one] of this.#unclaimed) if (one.id === id) this.#unclaimed.delete(name);
  }

  #begin(name: string, request: T, make: () => Promise<string>): Promise<string> {
    const call = currentCall();
    const flight: Flight<T> = { request, call, waiting: new Set([call]), result: Promise.resolve('') };
    this.#flights.set(name, flight);
    flight.result = make().then(
      (id) => {
        this.#flights.delete(name);
        if ([...flight.waiting].every((one) => one?.abandoned)) this.#unclaimed.set(name, { request, id });
        return id;
      },
      (cause: unknown) => {
        this.#flights.delete(name);
        throw cause;
      },
    );
    return flight.result;
  }
}

/** Told when it is asked: what the earlier call waits for changes. */
function describe(call: Call | undefined): () => string {
  return () => (call ? `(${call}, ${call.where()})` : '');
}
