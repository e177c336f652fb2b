import { existsSync, readFileSync } from 'node:fs';
import { readFile, stat, statfs } from 'node:fs/promises';
import type { Clock } from '../async/index.ts';
import { openCgroups } from '../host/cgroups/index.ts';
import { mayLowerOomScore, runProgram } from '../host/exec/index.ts';
import { createLogger } from '../log/index.ts';
import { messageOf } from './errors.ts';
import { Registries } from './images/index.ts';
import { splitRanges } from './network/bridge/bridge-network.ts';
import { PodRanges } from './network/bridge/pod-ranges.ts';
import { loadCniConfiguration } from './network/cni/cni-config.ts';
import { findProgram, type ResolvedSettings } from './settings/index.ts';

/** What a look at the machine found. `problem`: the runtime, or what was configured, will not work. */
export interface CheckFinding {
  name: string;
  state: 'ok' | 'note' | 'problem';
  text: string;
}

/** Looks whether this machine can do what the settings ask for. Changes nothing. */
export async function checkRuntime(settings: ResolvedSettings, clock: Clock): Promise<CheckFinding[]> {
  const findings = await Promise.all([
    checkKernel(),
    checkCgroups(),
    ...settings.runtimes.map((runtime) => checkProgram(`OCI runtime ${runtime.name}`, runtime.path, clock)),
    checkProgram('conmon', settings.conmonPath, clock),
    checkNetwork(settings),
    checkRegistries(settings, clock),
    checkDirectories(settings),
    checkSocket(settings),
  ]);
  return findings.flat();
}

const finding = (name: string, state: CheckFinding['state'], text: string): CheckFinding => ({ name, state, text });

async function checkKernel(): Promise<CheckFinding[]> {
  const release = (await readFile('/proc/sys/kernel/osrelease', 'utf8')).trim();
  const filesystems = await readFile('/proc/filesystems', 'utf8');
  const status = await readFile('/proc/self/status', 'utf8');
  const namespaces = ['net', 'ipc', 'uts', 'pid', 'mnt', 'user'].filter((name) => !existsSync(`/proc/self/ns/${name}`));
  const maximum = await readFile('/proc/sys/user/max_user_namespaces', 'utf8').catch(() => '0');
  return [
    process.getuid?.() === 0
      ? finding('user', 'ok', 'root')
      : finding('user', 'problem', 'is not root, which namespaces and mounts need: use sudo'),
    finding('kernel', 'ok', `Linux ${release}`),
    /\boverlay\b/.test(filesystems)
      ? finding('overlayfs', 'ok', 'is there')
      : finding('overlayfs', 'problem', 'is not in /proc/filesystems: load the module overlay'),
    namespaces.length === 0
      ? finding('namespaces', 'ok', 'all kinds')
      : finding('namespaces', 'problem', `the kernel lacks ${namespaces.join(', ')}`),
    Number(maximum) > 0
      ? finding('user namespaces', 'ok', `at most ${maximum.trim()}`)
      : finding('user namespaces', 'note', 'are off: user.max_user_namespaces is 0'),
    /^Seccomp:/m.test(status)
      ? finding('seccomp', 'ok', 'is there')
      : finding('seccomp', 'note', 'is not there: profiles other than Unconfined are refused'),
    isYes('/sys/module/apparmor/parameters/enabled')
      ? finding('AppArmor', 'ok', 'is on')
      : finding('AppArmor', 'note', 'is off: profiles other than Unconfined are refused'),
    existsSync('/sys/fs/selinux/enforce')
      ? finding('SELinux', 'ok', 'is on')
      : finding('SELinux', 'note', 'is off: labels are refused'),
    mayLowerOomScore()
      ? finding('oom_score_adj', 'ok', 'may be lowered')
      : finding('oom_score_adj', 'note', 'may not go below our own (no CAP_SYS_RESOURCE): lower ones are raised to it'),
  ];
}

/** Whether the files with rules for registries can be read. */
async function checkRegistries(settings: ResolvedSettings, clock: Clock): Promise<CheckFinding[]> {
  const { registryHostsDirectory, registriesConf, registryAuthFiles = [] } = settings;
  const named = [registryHostsDirectory, registriesConf, ...registryAuthFiles].filter((one) => one !== undefined);
  if (named.length === 0) return [];
  const missing = named.filter((path) => !existsSync(path));
  try {
    Registries.open({
      ...(registryHostsDirectory ? { hostsDirectory: registryHostsDirectory } : {}),
      ...(registriesConf ? { registriesConf } : {}),
      authFiles: registryAuthFiles,
      log: createLogger('check', () => {}),
      clock,
    });
  } catch (cause) {
    return [finding('registries', 'problem', messageOf(cause))];
  }
  return missing.length > 0
    ? [finding('registries', 'note', `${missing.join(', ')}: not there, so no rules come from it`)]
    : [finding('registries', 'ok', `rules come from ${named.join(', ')}`)];
}

function isYes(file: string): boolean {
  try {
    return readFileSync(file, 'utf8').startsWith('Y');
  } catch {
    return false;
  }
}

async function checkCgroups(): Promise<CheckFinding[]> {
  try {
    return [finding('cgroups', 'ok', `version ${openCgroups().version}`)];
  } catch (cause) {
    return [finding('cgroups', 'problem', messageOf(cause))];
  }
}

async function checkProgram(name: string, path: string, clock: Clock): Promise<CheckFinding[]> {
  try {
    const { status, stdout, stderr } = await runProgram([path, '--version'], { timeoutMs: 10_000, clock });
    const [line = ''] = (stdout.toString() || stderr.toString()).split('\n');
    if (status !== 0) return [finding(name, 'problem', `${path} --version ended with status ${status}: ${line}`)];
    return [finding(name, 'ok', `${line.trim()} (${path})`)];
  } catch (cause) {
    return [finding(name, 'problem', `${path} cannot be run: ${messageOf(cause)}`)];
  }
}

async function checkNetwork({
  cniConfDir,
  cniBinDirs,
  bridgeName,
  podCidr,
}: ResolvedSettings): Promise<CheckFinding[]> {
  const bridge = podCidr
    ? finding('pod network', 'ok', `the built-in bridge ${bridgeName} with ${podCidr}`)
    : finding('pod network', 'note', `the built-in bridge ${bridgeName}, once a kubelet tells its addresses`);
  try {
    new PodRanges().set(splitRanges(podCidr ?? ''));
    if (!cniConfDir) return [bridge];
    const configuration = await loadCniConfiguration(cniConfDir);
    if (!configuration) return [bridge, finding('CNI', 'note', `${cniConfDir} holds no configuration (yet)`)];
    const missing = configuration.plugins.filter(({ type }) => !findProgram(type, cniBinDirs));
    const plugins = configuration.plugins.map(({ type }) => type).join(', ');
    const text = `${configuration.name} (${plugins}) of ${cniConfDir}`;
    if (missing.length === 0) return [finding('pod network', 'ok', `CNI ${text}`)];
    const names = missing.map(({ type }) => type).join(', ');
    return [finding('pod network', 'problem', `CNI ${text}: ${names} not found in ${cniBinDirs.join(', ')}`)];
  } catch (cause) {
    return [finding('pod network', 'problem', messageOf(cause))];
  }
}

async function checkDirectories({ root, state }: ResolvedSettings): Promise<CheckFinding[]> {
  return Promise.all(
    [root, state].map(async (path) => {
      const name = path === root ? 'root' : 'state';
      const found = await stat(path).catch(() => undefined);
      if (found && !found.isDirectory()) return finding(name, 'problem', `${path} is not a directory`);
      const nearest = await nearestDirectory(path);
      const { type, bavail, bsize } = await statfs(nearest);
      if (path === root && type === overlayMagic)
        return finding(
          name,
          'problem',
          `${path} is on overlayfs, which cannot hold the layers of another: use a volume`,
        );
      const free = Math.round((bavail * bsize) / 2 ** 20);
      const text = `${found ? path : `${path} will be made in ${nearest}`}, ${free} MiB free`;
      return finding(name, free < 512 ? 'note' : 'ok', text);
    }),
  );
}

/** How statfs(2) calls overlayfs. */
const overlayMagic = 0x794c7630;

async function nearestDirectory(path: string): Promise<string> {
  for (let at = path; ; at = at.slice(0, at.lastIndexOf('/')) || '/')
    if (at === '/' || (await stat(at).catch(() => undefined))?.isDirectory()) return at;
}

/** A unix socket's path has at most 107 bytes. */
async function checkSocket({ listen }: ResolvedSettings): Promise<CheckFinding[]> {
  if (Buffer.byteLength(listen) > 107)
    return [finding('socket', 'problem', `${listen} is longer than the 107 bytes that a unix socket can have`)];
  const inUse = await stat(listen).catch(() => undefined);
  if (inUse && !inUse.isSocket()) return [finding('socket', 'problem', `${listen} is there and no socket`)];
  return [finding('socket', 'ok', `${listen}${inUse ? ' (there already)' : ''}`)];
}
