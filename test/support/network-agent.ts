import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { AgentRequest } from './network-agent-process.ts';

type Protocol = 'tcp' | 'udp';

/** A program inside a network namespace that listens and connects as it is told. Ends with its scope. */
export class NetworkAgent implements Disposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: string) => void>();
  #count = 0;

  /** `namespacePath` is the file of a network namespace. */
  constructor(namespacePath: string) {
    const script = join(import.meta.dirname, 'network-agent-process.ts');
    const argv = [`--net=${namespacePath}`, '--', process.execPath, script];
    this.#child = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const { id, answer } = JSON.parse(line) as { id: number; answer: string };
      this.#waiting.get(id)?.(answer);
      this.#waiting.delete(id);
    });
    this.#child.on('exit', () => {
      for (const resolve of this.#waiting.values()) resolve('the agent has ended');
    });
  }

  /** Listens on all addresses; answers its name and the caller's address. */
  async serve(protocol: Protocol, port: number, name: string): Promise<void> {
    const answer = await this.#request({ serve: { protocol, port, name } });
    if (answer !== 'serving') throw new Error(`cannot serve ${protocol} ${port}: ${answer}`);
  }

  /** Connects, or sends a packet, and gives what comes back: text, or an error's name such as `ECONNREFUSED`. */
  ask(protocol: Protocol, host: string, port: number, timeoutMs = 2000): Promise<string> {
    return this.#request({ ask: { protocol, host, port, timeoutMs } });
  }

  #request(request: Omit<AgentRequest, 'id'>): Promise<string> {
    const id = ++this.#count;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.stdin!.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
