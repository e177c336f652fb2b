/**
 * Runs the suite on our runtime with crun, inside of whatever kernel this is: `node second-kernel.ts [main.ts's options]`.
 * Its pods have their network from CNI plugins, as the kernel may lack nftables. Meant to be run by a second kernel (user
 * mode Linux) that has nothing but cgroup v2: see cgroup-v2.test.ts.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { networkConfiguration } from '../../support/containerd.ts';
import { CriRegistry } from '../../support/cri-registry.ts';
import { CriRuntime } from '../../support/cri-runtime.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';
import { suiteCommand } from './report.ts';

async function main(options: readonly string[]): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'dh-second-'));
  const cniConfDir = join(directory, 'net.d');
  await mkdir(cniConfDir);
  await writeFile(join(cniConfDir, '10-bridge.conflist'), networkConfiguration(directory, '10.96.0.0/24'));
  try {
    await using namespace = await NetworkNamespace.create('second');
    await using registry = await CriRegistry.start(namespace);
    await using runtime = await CriRuntime.start(namespace, {
      mirrors: registry.mirrors(),
      configuration: { cniConfDir, runtimes: [{ name: 'crun', path: '/usr/bin/crun' }] },
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

process.exit(await main(process.argv.slice(2)));
