import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { NetworkNamespace } from './network-namespace.ts';
import type { RegistryFaults } from './registry.ts';

/**
 * A registry inside a network namespace that misbehaves when it is told to. It has small images that sleep, test/good,
 * test/again, test/refused, test/reset, test/wrong and test/private, and test/large; all with the tag v1.
 */
export class FaultyRegistry implements AsyncDisposable {
  readonly host: string;
  readonly #child: ReturnType<typeof spawn>;
  readonly #lines: AsyncIterator<string>;

  private constructor(host: string, child: ReturnType<typeof spawn>, lines: AsyncIterator<string>) {
    this.host = host;
    this.#child = child;
    this.#lines = lines;
  }

  /** @param largeMegabytes how much test/large has in it that does not compress */
  static async start(namespace: NetworkNamespace, largeMegabytes = 1): Promise<FaultyRegistry> {
    const entry = join(import.meta.dirname, 'faulty-registry-process.ts');
    const argv = [...namespace.enter(), process.execPath, entry, String(largeMegabytes)];
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    if (!value) throw new Error('the registry did not start');
    return new FaultyRegistry(value as string, child, lines);
  }

  /** The reference of one of its images. */
  image(name: string): string {
    return `${this.host}/test/${name}:v1`;
  }

  /** Misbehaves in this way from now on; not at all when empty. */
  async misbehave(faults: RegistryFaults): Promise<void> {
    const text = JSON.stringify(faults, (_key, value) => (value instanceof RegExp ? value.source : value));
    this.#child.stdin!.write(`${text}\n`);
    await this.#lines.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#child, 'close');
    this.#child.stdin!.end();
    await closed;
  }
}
