/**
 * Runs the suite on our runtime with crun, inside of whatever kernel this is: `node second-kernel.ts [main.ts's options]`.
 * The rules of its bridge are written with iptables, as the kernel may lack nftables. Meant to be run by a second kernel
 * (user mode Linux) that has nothing but cgroup v2: see cgroup-v2.test.ts.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CriRegistry } from '../../support/cri-registry.ts';
import { CriRuntime } from '../../support/cri-runtime.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';
import { run } from '../../support/processes.ts';
import { suiteCommand } from './report.ts';

async function main(options: readonly string[]): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'dh-second-'));
  await useOldTables(directory);
  try {
    await using namespace = await NetworkNamespace.create('second');
    await using registry = await CriRegistry.start(namespace);
    await using runtime = await CriRuntime.start(namespace, {
      mirrors: registry.mirrors(),
      configuration: { bridgeRules: 'iptables', runtimes: [{ name: 'crun', path: '/usr/bin/crun' }] },
      onLog: (line) => console.error(line),
    });
    const [program, ...argv] = [...namespace.enter(), ...suiteCommand, ...options] as [string, ...string[]];
    const environment = { CRI_ENDPOINT: runtime.endpoint, CRI_REGISTRY: registry.host };
    const suite = spawn(program, argv, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...environment },
    });
    const [status] = (await once(suite, 'close')) as [number | null];
    return status ?? 1;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** `iptables` is the one for nftables on Debian, and this kernel has the older tables only. */
async function useOldTables(directory: string): Promise<void> {
  const program = '/usr/sbin/xtables-legacy-multi';
  const chain = await run(['iptables', '-t', 'nat', '-N', 'DH-PROBE']);
  if (chain.status === 0) await run(['iptables', '-t', 'nat', '-X', 'DH-PROBE']);
  if (chain.status === 0 || !existsSync(program)) return;
  const programs = join(directory, 'bin');
  await mkdir(programs);
  for (const name of [
    'iptables',
    'iptables-save',
    'iptables-restore',
    'ip6tables',
    'ip6tables-save',
    'ip6tables-restore',
  ])
    await symlink(program, join(programs, name));
  process.env['PATH'] = `${programs}:${process.env['PATH']}`;
}

process.exit(await main(process.argv.slice(2)));
