import { existsSync } from 'node:fs';
import { startDockerRuntime } from '../../runtime/index.ts';
import { defineComponent } from '../component-module.ts';
import { UsageError } from '../flags.ts';
import { commonFlags, readNumber } from './common.ts';

/** Where distributions put the configuration and the plugins of pod networks. */
const cni = { configuration: '/etc/cni/net.d', plugins: ['/opt/cni/bin', '/usr/lib/cni'] } as const;

export default defineComponent({
  name: 'cri-docker',
  summary: 'Serves the CRI v1 for a Docker Engine, so that a kubelet can have its pods there.',
  flags: {
    listen: {
      type: 'string',
      value: 'unix://SOCKET',
      default: 'unix:///run/deckhand/cri-docker.sock',
      help: 'the socket of the CRI',
    },
    docker: {
      type: 'string',
      value: 'unix://SOCKET',
      default: 'unix:///run/docker.sock',
      help: "the engine's socket",
    },
    root: { type: 'string', value: 'DIR', default: '/var/lib/deckhand/cri-docker', help: 'records of pods' },
    state: { type: 'string', value: 'DIR', default: '/run/deckhand/cri-docker', help: 'what belongs to this boot' },
    'sandbox-image': {
      type: 'string',
      value: 'IMAGE',
      help: 'the image that holds the namespaces of a pod (default: one of our own, which needs no pull)',
    },
    'pod-cidr': {
      type: 'string',
      value: 'CIDR[,CIDR6]',
      help: 'addresses of pods on the built-in bridge (default 10.88.0.0/16 where there is no CNI configuration)',
    },
    'bridge-name': { type: 'string', value: 'NAME', default: 'deckhand0', help: 'the link of the built-in bridge' },
    'cni-conf-dir': {
      type: 'string',
      value: 'DIR',
      help: `CNI configuration (default ${cni.configuration} where it is)`,
    },
    'cni-bin-dir': {
      type: 'string',
      value: 'DIR[,DIR]',
      default: cni.plugins.join(','),
      help: 'where CNI plugins are',
    },
    'streaming-address': {
      type: 'string',
      value: 'ADDRESS',
      default: '127.0.0.1',
      help: 'where exec, attach and port-forward are served',
    },
    'streaming-port': { type: 'string', value: 'PORT', default: '0', help: 'and on which port; 0: any' },
    ...commonFlags,
  },
  start(values, context) {
    const configurations = values['cni-conf-dir'] ?? (existsSync(cni.configuration) ? cni.configuration : undefined);
    const podCidr = values['pod-cidr'] ?? (configurations ? undefined : '10.88.0.0/16');
    return startDockerRuntime(
      {
        listen: socketOf('listen', values.listen),
        docker: socketOf('docker', values.docker),
        root: absolute('root', values.root),
        state: absolute('state', values.state),
        version: '0.1.0',
        streamingAddress: values['streaming-address'],
        streamingPort: readNumber('streaming-port', values['streaming-port'], 0, 65_535),
        streamingSetupTimeoutMs: 30_000,
        streamingIdleTimeoutMs: 4 * 3600 * 1000,
        bridgeName: values['bridge-name'],
        cniBinDirs: values['cni-bin-dir'].split(','),
        cniTimeoutMs: 120_000,
        ...(podCidr ? { podCidr } : {}),
        ...(configurations ? { cniConfDir: configurations } : {}),
        ...(values['sandbox-image'] ? { sandboxImage: values['sandbox-image'] } : {}),
      },
      context,
    );
  },
});

function socketOf(name: string, text: string): string {
  if (!/^unix:\/\/\/./.test(text))
    throw new UsageError(`--${name} ${text} is not a unix socket: use unix:///path/to/socket`);
  return text.slice('unix://'.length);
}

function absolute(name: string, path: string): string {
  if (!path.startsWith('/')) throw new UsageError(`--${name} ${path} must be an absolute path`);
  return path;
}
