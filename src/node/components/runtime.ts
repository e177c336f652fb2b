import { rm } from 'node:fs/promises';
import type { Component } from '../../async/index.ts';
import {
  ConfigurationError,
  checkRuntime,
  type FileSettings,
  printSettings,
  type Runtime,
  type RuntimeSettings,
  readFlagValue,
  readSettings,
  resolveSettings,
  type Setting,
  SettingProblem,
  settingTable,
  startRuntime,
} from '../../runtime/index.ts';
import { type ComponentContext, defineComponent } from '../component-module.ts';
import { type Flags, UsageError } from '../flags.ts';
import { findObstacles } from '../requirements.ts';
import { adminSocket, serveRuntimeAdmin } from '../runtime-admin.ts';
import { commonFlags } from './common.ts';

/** Addresses of pods where neither the command line nor the file nor a CNI directory says anything. */
const defaultPodCidr = '10.88.0.0/16';

/** Settings that have an option of their own. */
const settingFlags = Object.entries(settingTable as Record<string, Setting<unknown, boolean>>).flatMap(
  ([name, { flag, help }]) => (flag ? [{ setting: name as keyof FileSettings, ...flag, help }] : []),
);

const flags = {
  listen: {
    type: 'string',
    value: 'unix://SOCKET',
    default: 'unix:///run/deckhand/runtime.sock',
    help: 'the socket of the CRI',
  },
  root: { type: 'string', value: 'DIR', default: '/var/lib/deckhand/runtime', help: 'images, snapshots and records' },
  state: { type: 'string', value: 'DIR', default: '/run/deckhand/runtime', help: 'what belongs to this boot' },
  config: {
    type: 'string',
    value: 'FILE',
    help: 'a YAML file with settings, see docs/runtime.md; SIGHUP reads it again',
  },
  'config-dir': { type: 'string', value: 'DIR', help: 'more such files (*.yaml), read by name after --config' },
  ...(Object.fromEntries(
    settingFlags.map(({ name, value, help }) => [name, { type: 'string', value, help: `${help} Wins over the file.` }]),
  ) as Record<string, { type: 'string'; value: string; help: string }>),
  pod: { type: 'string', value: 'POD', help: "of which pod 'explain' is to tell: a name, namespace/name, or an id" },
  ...commonFlags,
} as const satisfies Flags;

type Values = Record<'listen' | 'root' | 'state', string> & Record<string, unknown>;

export default defineComponent({
  name: 'runtime',
  summary:
    'Pulls images and runs containers, for any kubelet or crictl that speaks the CRI v1.\n\n' +
    "'deckhand runtime explain --pod NAME' tells all that a running runtime knows of a pod, and what it is doing about it.\n" +
    "'deckhand runtime check [OPTIONS]' prints the settings in effect and looks whether this machine can do them.",
  flags: flags as Flags,
  async start(given, context) {
    const values = given as Values;
    const settings = await readAll(values);
    const obstacles = findObstacles();
    if (obstacles.length > 0) throw new Error(obstacles.join('; '));
    if (settings.logLevel) context.setLogLevel?.(settings.logLevel);
    const runtime = startRuntime(settings, context);
    return withAdmin(runtime, adminSocket(settings.root), context, async () => {
      const next = await readAll(values);
      const changes = runtime.reload(next);
      if (next.logLevel) context.setLogLevel?.(next.logLevel);
      context.log.info('configuration was read again', changes);
      return changes;
    });
  },
  actions: {
    explain: async (given) => {
      const { listen, pod } = given as Values;
      if (!pod) throw new UsageError('explain needs --pod NAME, NAMESPACE/NAME or an id');
      const { explainPod } = await import('../explain-pod.ts');
      process.stdout.write(`${(await explainPod(listen, String(pod))).trimEnd()}\n`);
      return 0;
    },
    check: async (given, context) => {
      const settings = resolveSettings(await readAll(given as Values));
      const { listen, root, state } = settings;
      const { stringify } = await import('yaml');
      process.stdout.write(`# Settings in effect\n${stringify({ listen, root, state, ...printSettings(settings) })}\n`);
      const findings = await checkRuntime(settings, context.clock);
      const width = Math.max(...findings.map(({ name }) => name.length));
      const lines = findings.map(({ name, state, text }) => `${state.padEnd(8)}${name.padEnd(width + 2)}${text}\n`);
      process.stdout.write(`# This machine\n${lines.join('')}`);
      return findings.some(({ state }) => state === 'problem') ? 1 : 0;
    },
  },
});

/** The settings of the command line over those of the files. @throws UsageError */
async function readAll(values: Values): Promise<RuntimeSettings> {
  const { listen, root, state } = values;
  if (!/^unix:\/\/\/./.test(listen))
    throw new UsageError(`--listen ${listen} is not a unix socket: use unix:///path/to/socket`);
  for (const [name, path] of Object.entries({ root, state }))
    if (!path.startsWith('/')) throw new UsageError(`--${name} ${path} must be an absolute path`);
  try {
    const settings: RuntimeSettings = { ...(await readSettings(sources(values))), listen, root, state };
    for (const { setting, name } of settingFlags)
      if (values[name] !== undefined)
        Object.assign(settings, { [setting]: readFlagValue(setting, `--${name}`, String(values[name])) });
    if (!settings.podCidr && !settings.cniConfDir) settings.podCidr = defaultPodCidr;
    return settings;
  } catch (error) {
    if (error instanceof ConfigurationError || error instanceof SettingProblem) throw new UsageError(error.message);
    throw error;
  }
}

function sources(values: Values): { file?: string; directory?: string } {
  return {
    ...(values['config'] ? { file: String(values['config']) } : {}),
    ...(values['config-dir'] ? { directory: String(values['config-dir']) } : {}),
  };
}

/** The runtime with its administration socket beside it. */
function withAdmin(
  runtime: Runtime,
  socketPath: string,
  { log }: ComponentContext,
  reload: () => Promise<object>,
): Component & { reload(): Promise<object> } {
  const serving = runtime.ready.then(() => serveRuntimeAdmin(socketPath, runtime, reload));
  serving.catch((error: unknown) => log.debug('no administration socket', { error }));
  return {
    ready: serving.then(() => {}),
    stop: async (options) => {
      await serving.then((server) => server.close()).catch(() => {});
      await rm(socketPath, { force: true });
      await runtime.stop(options);
    },
    reload,
  };
}
