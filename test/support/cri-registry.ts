import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { RegistryConfig } from '../../src/runtime/images/index.ts';
import { criImagePackages, criRegistries } from './cri-images.ts';
import { unpackedPackage } from './debian-packages.ts';
import type { NetworkNamespace } from './network-namespace.ts';

/** A registry inside a network namespace, on its loopback, with every image that the CRI's test programs ask for. */
export class CriRegistry implements AsyncDisposable {
  readonly host: string;
  readonly #child: ReturnType<typeof spawn>;

  private constructor(host: string, child: ReturnType<typeof spawn>) {
    this.host = host;
    this.#child = child;
  }

  /** Builds the images (Debian packages are fetched the first time) and serves them. */
  static async start(namespace: NetworkNamespace): Promise<CriRegistry> {
    // From here: the namespace has no way out.
    for (const name of criImagePackages) await unpackedPackage(name);
    const argv = [...namespace.enter(), process.execPath, join(import.meta.dirname, 'cri-registry-process.ts')];
    // In a process group of its own: the keys that end a test at a terminal are not for it. It ends with its input.
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    const { value } = await createInterface({ input: child.stdout! })[Symbol.asyncIterator]().next();
    if (!value) throw new Error('the registry did not start: see its message above');
    return new CriRegistry(value as string, child);
  }

  /** Rules for a runtime: images of the usual registries come from here, under their usual names. */
  mirrors(): RegistryConfig[] {
    return criRegistries.map((registry) => ({ registry, mirrors: [`http://${this.host}`] }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.stdin!.end();
    await closed;
  }
}
