import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { NetworkNamespace } from './network-namespace.ts';

/** A registry inside a network namespace, on its loopback, with the images demo/web:v1, v2 and v3. */
export class DemoRegistry implements AsyncDisposable {
  readonly host: string;
  readonly #child: ReturnType<typeof spawn>;
  readonly #lines: AsyncIterator<string>;

  private constructor(host: string, child: ReturnType<typeof spawn>, lines: AsyncIterator<string>) {
    this.host = host;
    this.#child = child;
    this.#lines = lines;
  }

  static async start(namespace: NetworkNamespace): Promise<DemoRegistry> {
    const argv = [...namespace.enter(), process.execPath, join(import.meta.dirname, 'registry-process.ts')];
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    return new DemoRegistry(value as string, child, lines);
  }

  image(version: string): string {
    return `${this.host}/demo/web:${version}`;
  }

  /** An image whose configuration names a user: by number, by name, or root. */
  userImage(kind: 'root' | 'number' | 'name'): string {
    return `${this.host}/demo/user:${kind}`;
  }

  /** How many blobs were fetched so far. */
  async blobFetches(): Promise<number> {
    this.#child.stdin!.write('\n');
    return Number((await this.#lines.next()).value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    await once(this.#child, 'close');
  }
}
