import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pollUntil } from '../../src/async/index.ts';
import type { NetworkNamespace } from './network-namespace.ts';
import { type Result, run, start } from './processes.ts';

/** The program of CRI-O, which Debian does not have. */
const program = process.env['CRIO'] ?? '';

/** Why there is no CRI-O here; false when there is one. */
export const crioMissing: string | false = !program
  ? 'CRIO does not name a crio program (built from its source, with pinns beside it)'
  : !existsSync(program) || !existsSync(join(dirname(program), 'pinns'))
    ? `there is no crio, or no pinns beside it, at CRIO=${program}`
    : !existsSync('/usr/bin/skopeo')
      ? 'skopeo is not installed (Debian package skopeo)'
      : false;

/** CRI-O with all its directories in one, inside a network namespace; conmon and runc are Debian's. */
export class Crio implements AsyncDisposable {
  /** `unix:///…` */
  readonly endpoint: string;
  readonly directory: string;
  readonly #process: ChildProcess;

  private constructor(directory: string, child: ChildProcess) {
    this.directory = directory;
    this.#process = child;
    this.endpoint = `unix://${join(directory, 'crio.sock')}`;
  }

  /** Starts it; pods get addresses of `podCidr` from the CNI plugins bridge, host-local and portmap. */
  static async start(namespace: NetworkNamespace, options: { podCidr: string; pauseImage: string }): Promise<Crio> {
    const directory = await mkdtemp(join(tmpdir(), 'dh-crio-'));
    for (const name of ['cni', 'hooks', 'drop-ins']) await mkdir(join(directory, name));
    const files = {
      'cni/10-bridge.conflist': networkConfiguration(directory, options.podCidr),
      'policy.json': '{"default": [{"type": "insecureAcceptAnything"}]}',
      'storage.conf': `[storage]\ndriver = "overlay"\nroot = "${directory}/root"\nrunroot = "${directory}/run"\n`,
      'crio.toml': configuration(directory, options.pauseImage),
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
    const argv = [program, '--config', join(directory, 'crio.toml'), '--config-dir', join(directory, 'drop-ins')];
    const child = start([...namespace.enter(), ...argv], {
      CONTAINERS_STORAGE_CONF: join(directory, 'storage.conf'),
    });
    let said = '';
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-4_000);
      });
    const crio = new Crio(directory, child);
    try {
      await pollUntil(
        'the socket of CRI-O',
        async () => {
          if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
          return existsSync(join(directory, 'crio.sock'));
        },
        { timeoutMs: 20_000, intervalMs: 100 },
      );
    } catch (cause) {
      await crio[Symbol.asyncDispose]();
      throw new Error(`CRI-O did not start:\n${said}`, { cause });
    }
    return crio;
  }

  /** Puts an image of a docker-archive into its storage. */
  async load(file: string, name: string): Promise<void> {
    const storage = `[overlay@${this.directory}/root+${this.directory}/run]`;
    const argv = ['--policy', join(this.directory, 'policy.json'), 'copy', `docker-archive:${file}:${name}`];
    const result: Result = await run(['skopeo', ...argv, `containers-storage:${storage}${name}`], {
      environment: { CONTAINERS_STORAGE_CONF: join(this.directory, 'storage.conf') },
    });
    if (result.status !== 0) throw new Error(result.stderr);
  }

  /** The conmons that run for it, one line for each. */
  async remains(): Promise<string[]> {
    const { stdout } = await run(['pgrep', '--full', '--list-full', `^/usr/bin/conmon .*${this.directory}/`]);
    return stdout.split('\n').filter(Boolean);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, 'exit');
    if (this.#process.exitCode === null && this.#process.kill('SIGTERM')) await ended;
    for (const line of await this.remains()) {
      const pid = line.split(' ')[0]!;
      const { stdout } = await run(['pgrep', '-P', pid]);
      for (const one of [...stdout.split('\n').filter(Boolean), pid]) await run(['kill', '-9', one]);
    }
    const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
    for (const mount of mounts.filter((path) => path.startsWith(`${this.directory}/`)).reverse())
      await run(['umount', '--lazy', mount]);
    await rm(this.directory, { recursive: true, force: true });
  }
}

function configuration(directory: string, pauseImage: string): string {
  return `
[crio]
root = "${directory}/root"
runroot = "${directory}/run"
storage_driver = "overlay"
log_dir = "${directory}/logs"
version_file = "${directory}/version"
version_file_persist = "${directory}/version-persist"
clean_shutdown_file = "${directory}/clean.shutdown"
[crio.api]
listen = "${directory}/crio.sock"
stream_address = "127.0.0.1"
stream_port = "0"
[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
default_runtime = "runc"
pinns_path = "${join(dirname(program), 'pinns')}"
namespaces_dir = "${directory}/namespaces"
container_exits_dir = "${directory}/exits"
container_attach_socket_dir = "${directory}/attach"
hooks_dir = ["${directory}/hooks"]
[crio.runtime.runtimes.runc]
runtime_path = "/usr/sbin/runc"
runtime_root = "${directory}/runc"
monitor_path = "/usr/bin/conmon"
[crio.image]
pause_image = "${pauseImage}"
signature_policy = "${directory}/policy.json"
[crio.network]
network_dir = "${directory}/cni"
plugin_dirs = ["/usr/lib/cni"]
`;
}

function networkConfiguration(directory: string, podCidr: string): string {
  const bridge = {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: false,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      dataDir: join(directory, 'ipam'),
      ranges: [[{ subnet: podCidr }]],
      routes: [{ dst: '0.0.0.0/0' }],
    },
  };
  const plugins = [bridge, { type: 'portmap', capabilities: { portMappings: true } }];
  return JSON.stringify({ cniVersion: '1.0.0', name: 'test', plugins });
}
