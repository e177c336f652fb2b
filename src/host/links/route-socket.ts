import { constants } from 'node:os';
import { calls, inNetworkNamespace } from '../namespaces/index.ts';
import { decodeMessages, encodeMessage, type ReceivedMessage, requestFlags } from './route-messages.ts';

/** The kernel's refusal of a request. */
export class LinkError extends Error {
  readonly code: string;
  constructor(code: string, what: string) {
    super(`${what}: ${code}`);
    this.code = code;
  }
}

/** A request: its message type, what to call it in errors, extra flags, and its encoded payload. */
export interface RouteRequest {
  what: string;
  type: number;
  flags?: number;
  payload: Buffer;
  /** Error codes that count as success, such as `EEXIST`. */
  accept?: readonly string[];
}

const errorNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
const [messageError, messageDone] = [2, 3];

/**
 * A synchronous route netlink socket. It belongs to the network namespace in which it was opened, so one that is
 * opened inside a pod keeps speaking for the pod.
 */
export class RouteSocket implements Disposable {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(65_536);
  #sequence = 1;

  /** Opens a socket in the namespace of the path, or in the thread's own. */
  constructor(namespacePath?: string) {
    const [netlink, raw, closeOnExec] = [16, 3, 0o2000000];
    this.#fd = inNetworkNamespace(namespacePath, () => calls.socket(netlink, raw | closeOnExec, 0));
  }

  /** Sends all requests in one datagram and waits for each answer. @throws LinkError for the first that is refused */
  request(requests: readonly RouteRequest[]): void {
    const pending = new Map<number, RouteRequest>();
    const datagram = Buffer.concat(
      requests.map((request) => {
        const sequence = this.#sequence++;
        pending.set(sequence, request);
        const flags = requestFlags.request | requestFlags.acknowledge | (request.flags ?? 0);
        return encodeMessage(request.type, flags, sequence, request.payload);
      }),
    );
    calls.send(this.#fd, datagram, datagram.length, 0);
    let failure: LinkError | undefined;
    while (pending.size > 0) {
      for (const message of this.#receive()) {
        const request = pending.get(message.sequence);
        if (!request || message.type !== messageError) continue;
        pending.delete(message.sequence);
        const code = errorCode(message);
        if (code && !request.accept?.includes(code)) failure ??= new LinkError(code, request.what);
      }
    }
    if (failure) throw failure;
  }

  /** Asks and gives the messages of the answer. @throws LinkError */
  query(request: RouteRequest): ReceivedMessage[] {
    const sequence = this.#sequence++;
    const dump = ((request.flags ?? 0) & requestFlags.dump) !== 0;
    const message = encodeMessage(request.type, requestFlags.request | (request.flags ?? 0), sequence, request.payload);
    calls.send(this.#fd, message, message.length, 0);
    const answers: ReceivedMessage[] = [];
    for (;;) {
      for (const answer of this.#receive()) {
        if (answer.sequence !== sequence) continue;
        if (answer.type === messageDone) return answers;
        if (answer.type === messageError) {
          const code = errorCode(answer);
          if (code) throw new LinkError(code, request.what);
          return answers;
        }
        answers.push({ ...answer, payload: Buffer.from(answer.payload) });
        if (!dump) return answers;
      }
    }
  }

  #receive(): ReceivedMessage[] {
    const length = calls.recv(this.#fd, this.#buffer, this.#buffer.length, 0);
    return decodeMessages(this.#buffer.subarray(0, Number(length)));
  }

  [Symbol.dispose](): void {
    calls.close(this.#fd);
  }
}

function errorCode({ payload }: ReceivedMessage): string | undefined {
  const number = -payload.readInt32LE(0);
  return number === 0 ? undefined : (errorNames.get(number) ?? `errno ${number}`);
}
