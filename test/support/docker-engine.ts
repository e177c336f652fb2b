import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pollUntil } from '../../src/async/index.ts';
import type { NetworkNamespace } from './network-namespace.ts';
import { run, start } from './processes.ts';

/** Why there is no engine here; false when there is. */
export const dockerMissing: string | false = existsSync('/usr/sbin/dockerd')
  ? false
  : 'dockerd is not installed (Debian package docker.io)';

/** Debian's Docker Engine with directories and a socket of its own, inside a network namespace. */
export class DockerEngine implements AsyncDisposable {
  readonly directory: string;
  /** `unix:///…` */
  readonly endpoint: string;
  readonly #namespace: NetworkNamespace;
  readonly #environment: Record<string, string>;
  readonly #insecure: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(
    namespace: NetworkNamespace,
    directory: string,
    options: { proxy?: string; insecure: readonly string[] },
  ) {
    this.#namespace = namespace;
    this.directory = directory;
    this.endpoint = `unix://${join(directory, 'docker.sock')}`;
    // Whatever registry is named, the proxy answers for it: the engine has mirrors for one registry only.
    this.#environment = options.proxy ? { HTTP_PROXY: options.proxy, NO_PROXY: '127.0.0.1' } : {};
    this.#insecure = options.insecure;
  }

  /**
   * Starts it. `proxy` (`http://…`) answers for the registries of `insecure`, which are spoken to without TLS.
   * @throws Error with what it said
   */
  static async start(
    namespace: NetworkNamespace,
    options: { proxy?: string; insecure?: readonly string[] } = {},
  ): Promise<DockerEngine> {
    const directory = await mkdtemp(join(tmpdir(), 'dh-dockerd-'));
    await chmod(directory, 0o711);
    await writeFile(join(directory, 'daemon.json'), '{}');
    const engine = new DockerEngine(namespace, directory, { insecure: [], ...options });
    try {
      await engine.begin();
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
    return engine;
  }

  /** Starts it, again after end(). */
  async begin(): Promise<void> {
    const { directory } = this;
    const argv = ['dockerd', '--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')];
    argv.push('--pidfile', join(directory, 'docker.pid'), '--host', this.endpoint, '--group', 'root');
    argv.push('--config-file', join(directory, 'daemon.json'), '--oom-score-adjust', '0');
    argv.push('--bridge', 'none', '--iptables=false', '--ip-forward=false', '--storage-driver', 'overlay2');
    for (const registry of this.#insecure) argv.push('--insecure-registry', registry);
    const child = start([...this.#namespace.enter(), ...argv], this.#environment);
    this.#process = child;
    const said: string[] = [];
    for (const input of [child.stdout!, child.stderr!])
      createInterface({ input }).on('line', (line) => {
        if (said.push(line) > 30) said.shift();
      });
    try {
      await pollUntil('the engine answers', async () => (await this.docker('version')).status === 0, {
        timeoutMs: 30_000,
        intervalMs: 100,
      });
    } catch (cause) {
      throw new Error(`dockerd did not start:\n${said.join('\n')}`, { cause });
    }
  }

  /** Ends it. Containers end with it, as they do without live-restore. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const pid = await this.#enginePid();
    const ended = once(child, 'exit');
    process.kill(pid ?? child.pid!, signal);
    await ended;
  }

  /** Runs its own command line. */
  docker(...argv: string[]): ReturnType<typeof run> {
    return this.#namespace.run(['docker', '--host', this.endpoint, ...argv], {
      environment: { HOME: this.directory },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
    for (const mount of mounts.filter((path) => path.startsWith(`${this.directory}/`)).reverse())
      await run(['umount', '--lazy', mount]);
    await rm(this.directory, { recursive: true, force: true });
  }

  /** nsenter becomes the engine, so that it is the child itself; the pid file says so. */
  async #enginePid(): Promise<number | undefined> {
    const text = await readFile(join(this.directory, 'docker.pid'), 'utf8').catch(() => '');
    return Number(text) || undefined;
  }
}
