import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pollUntil } from '../../src/async/index.ts';
import type { NetworkNamespace } from './network-namespace.ts';
import { run, start } from './processes.ts';

/** Debian's containerd with a root, a state and a socket of its own, inside a network namespace. */
export class Containerd implements AsyncDisposable {
  /** `unix:///…` */
  readonly endpoint: string;
  readonly directory: string;
  readonly #namespace: NetworkNamespace;
  readonly #process: ChildProcess;
  readonly #environment: Record<string, string>;

  private constructor(
    namespace: NetworkNamespace,
    directory: string,
    child: ChildProcess,
    environment: Record<string, string>,
  ) {
    this.#environment = environment;
    this.#namespace = namespace;
    this.directory = directory;
    this.#process = child;
    this.endpoint = `unix://${join(directory, 'containerd.sock')}`;
  }

  /**
   * Starts it; pods get addresses of `podCidr` from the CNI plugins bridge, host-local and portmap. `mirrors` tell where
   * the images of a registry are to come from.
   */
  static async start(
    namespace: NetworkNamespace,
    options: {
      podCidr: string;
      pauseImage: string;
      mirrors?: Readonly<Record<string, string>>;
      /** A directory with the programs of a containerd 2, to be used in place of the installed ones. */
      programs?: string;
    },
  ): Promise<Containerd> {
    const { programs } = options;
    const directory = await mkdtemp(join(tmpdir(), 'dh-ctd-'));
    await mkdir(join(directory, 'cni'));
    await writeFile(join(directory, 'cni', '10-bridge.conflist'), networkConfiguration(directory, options.podCidr));
    const write = programs ? configuration2 : configuration;
    await writeFile(join(directory, 'config.toml'), write(directory, options.pauseImage));
    for (const [registry, mirror] of Object.entries(options.mirrors ?? {})) {
      await mkdir(join(directory, 'certs.d', registry), { recursive: true });
      const rule = `server = "${mirror}"\n[host."${mirror}"]\n  capabilities = ["pull", "resolve"]\n`;
      await writeFile(join(directory, 'certs.d', registry, 'hosts.toml'), rule);
    }
    const environment: Record<string, string> = programs ? { PATH: `${programs}:${process.env['PATH']}` } : {};
    const argv = [...namespace.enter(), 'containerd', '--config', join(directory, 'config.toml')];
    const child = start(argv, environment);
    let said = '';
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-4_000);
      });
    const containerd = new Containerd(namespace, directory, child, environment);
    try {
      await pollUntil('containerd answers', async () => (await containerd.ctr('version')).status === 0, {
        timeoutMs: 20_000,
        intervalMs: 100,
      });
    } catch (cause) {
      await containerd[Symbol.asyncDispose]();
      throw new Error(`containerd did not start:\n${said}`, { cause });
    }
    return containerd;
  }

  /** Runs its own command line, in the namespace of Kubernetes. */
  ctr(...argv: string[]): ReturnType<typeof run> {
    const socket = join(this.directory, 'containerd.sock');
    const options = { environment: this.#environment };
    return this.#namespace.run(['ctr', '--address', socket, '--namespace', 'k8s.io', ...argv], options);
  }

  /** Ends it with everything that it started: its shims outlive it by design. */
  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, 'exit');
    if (this.#process.exitCode === null && this.#process.kill('SIGTERM')) await ended;
    for (const pid of await this.#shims()) {
      const { stdout } = await run(['pgrep', '-P', String(pid)]);
      for (const one of [...stdout.split('\n').filter(Boolean).map(Number), pid]) kill(one);
    }
    await pollUntil('the end of the shims', async () => (await this.#shims()).length === 0, { timeoutMs: 10_000 });
    const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
    for (const mount of mounts.filter((path) => path.startsWith(`${this.directory}/`)).reverse())
      await run(['umount', '--lazy', mount]);
    await rm(this.directory, { recursive: true, force: true });
  }

  async #shims(): Promise<number[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
    return pids.filter((_, index) => /containerd-shim/.test(lines[index]!) && lines[index]!.includes(this.directory));
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function configuration(directory: string, pauseImage: string): string {
  return `version = 2
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "${directory}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${directory}/certs.d"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${directory}/cni"
`;
}

/** The same for containerd 2, which has split its CRI in two. */
function configuration2(directory: string, pauseImage: string): string {
  return `version = 3
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.nri.v1.nri"]
[grpc]
  address = "${directory}/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "${pauseImage}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "${directory}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "${directory}/cni"
`;
}

function networkConfiguration(directory: string, podCidr: string): string {
  const gateway = podCidr.replace(/\.\d+\/\d+$/, '.1');
  return JSON.stringify({
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        hairpinMode: true,
        ipMasq: false,
        ipam: {
          type: 'host-local',
          dataDir: join(directory, 'addresses'),
          ranges: [[{ subnet: podCidr, gateway }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
}
