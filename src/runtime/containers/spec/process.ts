import type { ContainerConfig } from '../../../api/cri/index.ts';
import { invalid } from '../../errors.ts';
import type { ResolvedUser } from '../../store/container-record.ts';
import type { ImageConfig } from '../image-config.ts';
import { resolveCapabilities } from './capabilities.ts';
import type { OciProcess } from './oci-spec.ts';

const defaultPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The process of a container: what the CRI asks for, over what the image says. */
export function resolveProcess(options: {
  config: ContainerConfig;
  image: ImageConfig;
  user: ResolvedUser;
  hostname: string;
  available: ReadonlySet<string>;
  oomScoreAdj: number | undefined;
  /** By name without its prefix: `nofile`. */
  ulimits: Readonly<Record<string, { soft: number; hard: number }>>;
}): OciProcess {
  const { config, image, user } = options;
  const context = config.linux?.securityContext;
  const privileged = context?.privileged ?? false;
  return {
    terminal: config.tty,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
    args: resolveArguments(config, image),
    env: resolveEnvironment(config, image, options.hostname),
    cwd: config.workingDir || image.workingDir || '/',
    capabilities: resolveCapabilities(context?.capabilities, { privileged, available: options.available }),
    rlimits: Object.entries(options.ulimits).map(([name, { soft, hard }]) => ({
      type: `RLIMIT_${name.toUpperCase()}`,
      soft,
      hard,
    })),
    noNewPrivileges: context?.noNewPrivs ?? false,
    ...(options.oomScoreAdj === undefined ? {} : { oomScoreAdj: options.oomScoreAdj }),
  };
}

/** A command replaces the image's entry point and its arguments; arguments alone replace only the image's. */
function resolveArguments(config: ContainerConfig, image: ImageConfig): string[] {
  const replaced = config.command.length > 0;
  const command = replaced ? config.command : image.entrypoint;
  const rest = config.args.length > 0 || replaced ? config.args : image.cmd;
  const all = [...command, ...rest];
  if (all.length === 0) throw invalid('no command specified');
  return all;
}

/** The image's variables, then those of the CRI; a later one takes the place of an earlier one. */
function resolveEnvironment(config: ContainerConfig, image: ImageConfig, hostname: string): string[] {
  const variables = new Map<string, string>();
  const set = (entry: string): void => {
    const at = entry.indexOf('=');
    variables.set(at < 0 ? entry : entry.slice(0, at), entry);
  };
  set(defaultPath);
  if (hostname) set(`HOSTNAME=${hostname}`);
  if (config.tty) set('TERM=xterm');
  for (const entry of image.env) set(entry);
  for (const { key, value } of config.envs) set(`${key}=${Buffer.from(value).toString('utf8')}`);
  return [...variables.values()];
}
