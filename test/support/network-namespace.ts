import { output, type Result, type RunOptions, run } from './processes.ts';

let count = 0;

/** A network namespace with only a loopback link: no packet leaves it. Removed at the end of its scope. */
export class NetworkNamespace implements AsyncDisposable {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Makes a namespace with a name of its own and its loopback up. */
  static async create(purpose: string): Promise<NetworkNamespace> {
    const namespace = new NetworkNamespace(`dh-${purpose}-${process.pid}-${count++}`);
    await output(['ip', 'netns', 'add', namespace.name]);
    await output([...namespace.enter(), 'ip', 'link', 'set', 'lo', 'up']);
    return namespace;
  }

  /** One that somebody else made, and removes. */
  static at(name: string): NetworkNamespace {
    return new NetworkNamespace(name);
  }

  /** What to put before a command so that it runs inside. (`ip netns exec` would hide the cgroup trees.) */
  enter(): string[] {
    return ['nsenter', `--net=/run/netns/${this.name}`, '--'];
  }

  run(argv: readonly string[], options?: RunOptions): Promise<Result> {
    return run([...this.enter(), ...argv], options);
  }

  output(argv: readonly string[], options?: RunOptions): Promise<string> {
    return output([...this.enter(), ...argv], options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run(['ip', 'netns', 'delete', this.name]);
  }
}
