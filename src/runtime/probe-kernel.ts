import { existsSync, readFileSync } from 'node:fs';
import { mayLowerOomScore, ownOomScoreAdj } from '../host/exec/index.ts';
import { availableCapabilities } from './containers/spec/capabilities.ts';
import type { Kernel } from './context.ts';

/** Finds out what this machine lets us do. */
export function probeKernel(): Kernel {
  const apparmor = '/sys/module/apparmor/parameters/enabled';
  return {
    apparmor: existsSync(apparmor) && readFileSync(apparmor, 'utf8').startsWith('Y'),
    selinux: existsSync('/sys/fs/selinux/enforce'),
    capabilities: availableCapabilities(),
    mayLowerOomScore: mayLowerOomScore(),
    ownOomScoreAdj: ownOomScoreAdj(),
  };
}
