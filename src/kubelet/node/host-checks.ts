import { readdirSync } from 'node:fs';
import { openCgroups } from '../../host/cgroups/index.ts';
import { setOpenFileLimit, setOwnOomScore } from '../../host/process/index.ts';
import type { Logger } from '../../log/index.ts';
import type { KubeletConfiguration } from '../config/kubelet-configuration.ts';
import { ConfigurationError } from '../errors.ts';
import { readText } from '../resources/index.ts';

/** What the kernel's tunables have to be with protectKernelDefaults. */
const kernelDefaults: Readonly<Record<string, string>> = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

/**
 * Whether this machine is one on which the configuration lets a kubelet run: swap, the version of control groups, the
 * kernel's tunables (which are looked at, never changed).
 * @throws ConfigurationError naming the field that forbids it
 */
export function checkHost(
  configuration: KubeletConfiguration,
  log: Logger,
  read: (path: string) => string = readText,
): void {
  const swaps = read('/proc/swaps').split('\n').slice(1).filter(Boolean);
  if (configuration.failSwapOn && swaps.length > 0) {
    const names = swaps.map((line) => line.split(/\s+/)[0]).join(', ');
    throw new ConfigurationError(
      'failSwapOn',
      `running with swap on is not supported: turn it off (${names}) or set failSwapOn to false`,
    );
  }
  if (configuration.failCgroupV1 && openCgroups().version !== 'v2')
    throw new ConfigurationError('failCgroupV1', 'this machine has control groups of version 1');
  if (configuration.protectKernelDefaults)
    for (const [name, wanted] of Object.entries(kernelDefaults)) {
      const found = read(`/proc/sys/${name}`);
      if (found !== wanted)
        throw new ConfigurationError(
          'protectKernelDefaults',
          `${name.replaceAll('/', '.')} is ${found || 'unknown'} and must be ${wanted}`,
        );
    }
  for (const directory of listDirectories(configuration.volumePluginDir))
    log.warn('a FlexVolume driver is not used: there are CSI drivers instead', { directory });
}

/** What a kubelet with a process of its own does to it. */
export async function prepareOwnProcess(configuration: KubeletConfiguration, log: Logger): Promise<void> {
  const { oomScoreAdj, maxOpenFiles, kubeletCgroups } = configuration;
  if (!setOwnOomScore(oomScoreAdj))
    log.info('oom_score_adj stays: it may not be lowered here', { wanted: oomScoreAdj });
  const { now } = setOpenFileLimit(maxOpenFiles);
  if (now < maxOpenFiles) log.info('fewer files than wanted may be open', { wanted: maxOpenFiles, allowed: now });
  if (kubeletCgroups) {
    const cgroups = openCgroups();
    cgroups.create(kubeletCgroups);
    await cgroups.add(kubeletCgroups, process.pid);
  }
}

function listDirectories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
