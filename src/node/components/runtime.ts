import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parse } from 'yaml';
import type { Component } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { type Runtime, type RuntimeSettings, startRuntime } from '../../runtime/index.ts';
import { defineComponent } from '../component-module.ts';
import { UsageError } from '../flags.ts';
import { adminSocket } from '../images.ts';
import { serveRuntimeAdmin } from '../runtime-admin.ts';
import { commonFlags, readConfiguration } from './common.ts';

/** Fields of the configuration file, with what they must be. */
const configurationFields = {
  cgroupParent: 'string',
  bridgeName: 'string',
  mtu: 'number',
  cniConfDir: 'string',
  cniBinDirs: 'object',
  runtimes: 'object',
  conmonPath: 'string',
  registries: 'object',
  maxParallelLayers: 'number',
  seccompProfileRoot: 'string',
  streamingAddress: 'string',
  streamingPort: 'number',
} as const;

export default defineComponent({
  name: 'runtime',
  summary: 'Pulls images and runs containers, for any kubelet or crictl that speaks the CRI v1.',
  flags: {
    listen: {
      type: 'string',
      value: 'unix://SOCKET',
      default: 'unix:///run/deckhand/runtime.sock',
      help: 'the socket of the CRI',
    },
    root: { type: 'string', value: 'DIR', default: '/var/lib/deckhand/runtime', help: 'images, snapshots and records' },
    state: { type: 'string', value: 'DIR', default: '/run/deckhand/runtime', help: 'what belongs to this boot' },
    config: { type: 'string', value: 'FILE', help: `YAML with any of ${Object.keys(configurationFields).join(', ')}` },
    'pod-cidr': {
      type: 'string',
      value: 'CIDR',
      default: '10.88.0.0/16',
      help: 'addresses of pods on the built-in bridge',
    },
    ...commonFlags,
  },
  async start(values, context) {
    const configuration = values.config
      ? readRuntimeConfiguration(values.config, await readConfiguration(values.config))
      : {};
    if (!/^unix:\/\/\/./.test(values.listen))
      throw new UsageError(`--listen ${values.listen} is not a unix socket: use unix:///path/to/socket`);
    const runtime = startRuntime(
      { ...configuration, listen: values.listen, root: values.root, state: values.state, podCidr: values['pod-cidr'] },
      context,
    );
    return withAdmin(runtime, adminSocket(dirname(values.root)), context.log);
  },
});

/** The runtime with its administration socket beside it. */
function withAdmin(runtime: Runtime, socketPath: string, log: Logger): Component {
  const serving = runtime.ready.then(() => serveRuntimeAdmin(socketPath, runtime.images));
  serving.catch((error: unknown) => log.debug('no administration socket', { error }));
  return {
    ready: serving.then(() => {}),
    stop: async (options) => {
      await serving.then((server) => server.close()).catch(() => {});
      await rm(socketPath, { force: true });
      await runtime.stop(options);
    },
  };
}

/** Reads the runtime's configuration, strictly. @throws UsageError naming the field */
function readRuntimeConfiguration(file: string, text: string): Partial<RuntimeSettings> {
  const value = (parse(text) ?? {}) as Record<string, unknown>;
  for (const [name, content] of Object.entries(value)) {
    const type = configurationFields[name as keyof typeof configurationFields];
    if (!type)
      throw new UsageError(
        `${file}: unknown field ${JSON.stringify(name)}: known are ${Object.keys(configurationFields).join(', ')}`,
      );
    if (typeof content !== type)
      throw new UsageError(`${file}: ${name} must be a ${type === 'object' ? 'list' : type}`);
  }
  return value as Partial<RuntimeSettings>;
}
