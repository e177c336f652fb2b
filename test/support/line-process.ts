import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { NetworkNamespace } from './network-namespace.ts';

/** A program of the tests that answers lines of JSON with lines of JSON that carry the same id, in any order. */
export class LineProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (answer: any) => void; reject: (error: Error) => void }>();
  #count = 0;

  /** `program`: a TypeScript file beside this one. */
  constructor(namespace: NetworkNamespace, program: string, argv: readonly string[] = []) {
    const file = new URL(program, import.meta.url).pathname;
    const command = [...namespace.enter(), process.execPath, '--disable-warning=ExperimentalWarning', file, ...argv];
    const [first, ...rest] = command as [string, ...string[]];
    this.#child = spawn(first, rest, {
      stdio: ['pipe', 'pipe', 'inherit'],
      // Whatever cluster the machine's user has is none of the test's.
      env: { ...process.env, KUBECONFIG: '', HOME: '/nonexistent' },
    });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const answer = JSON.parse(line);
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
    });
    this.#child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${program} ended`));
    });
  }

  /** Asks, and resolves with the answer. */
  ask(question: object): Promise<any> {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin!.write(`${JSON.stringify({ ...question, id })}\n`);
    });
  }
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}
