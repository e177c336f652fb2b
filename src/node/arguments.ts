import { join } from 'node:path';
import type { ComponentName } from './component-module.ts';
import { instancePaths } from './instance.ts';
import { addressInRange, type UpOptions } from './up-options.ts';

/** The DNS name under which Services are found. */
export const clusterDomain = 'cluster.local';

/** Where the cluster's DNS answers on the node itself; Services reach it as port 53 of its cluster IP. */
export const dnsPort = 10_053;

/** Where in the configuration's directory the file of --kubelet-config is kept, for each later start of the kubelet. */
export const kubeletDropIns = 'kubelet.conf.d';

/** The CRI socket of the instance: the one that was named, or our own runtime's. */
export function runtimeEndpoint(options: UpOptions): string {
  return options.runtimeEndpoint ?? `unix://${join(instancePaths(options.dataDirectory).runtime, 'runtime.sock')}`;
}

/**
 * The arguments of each component's command in this instance. What `deckhand up` starts is what a user would start
 * by hand.
 */
export function componentArguments(name: ComponentName, options: UpOptions, nodeIp: string): string[] {
  const paths = instancePaths(options.dataDirectory);
  const common = options.verbose ? ['--v', '4'] : [];
  const kubeconfig = (user: string) => ['--kubeconfig', join(paths.pki, `${user}.conf`)];
  const build: Record<ComponentName, () => string[]> = {
    apiserver: () => [
      ...['--data-dir', paths.store, '--cert-dir', paths.pki],
      ...['--bind-address', options.listen.host, '--secure-port', String(options.listen.port)],
      ...['--advertise-address', nodeIp, '--service-cluster-ip-range', options.serviceCidr],
    ],
    runtime: () => [
      ...['--listen', runtimeEndpoint(options), '--root', join(paths.runtime, 'root'), '--state', paths.runtimeState],
      ...['--pod-cidr', podCidrs(options), '--config', join(paths.config, 'runtime.yaml')],
    ],
    kubelet: () => [
      ...['--config', join(paths.config, 'kubelet.yaml'), ...kubeconfig('kubelet')],
      ...['--hostname-override', options.nodeName, '--node-ip', nodeIp, '--root-dir', paths.kubelet],
      ...(options.kubeletConfig ? ['--config-dir', join(paths.config, kubeletDropIns)] : []),
      ...options.kubeletArguments.map((one) => `--${one}`),
    ],
    proxy: () => ['--config', join(paths.config, 'proxy.yaml'), '--hostname-override', options.nodeName],
    scheduler: () => kubeconfig('scheduler'),
    controllers: () => [
      ...kubeconfig('controller-manager'),
      '--cluster-cidr',
      podCidrs(options),
      '--root-ca-file',
      join(paths.pki, 'ca.crt'),
      ...['--local-path-directory', paths.localPath, '--local-path-node', options.nodeName],
      ...[
        '--cluster-signing-cert-file',
        join(paths.pki, 'ca.crt'),
        '--cluster-signing-key-file',
        join(paths.pki, 'ca.key'),
      ],
    ],
    dns: () => [...kubeconfig('dns'), '--listen', `${nodeIp}:${dnsPort}`, '--cluster-domain', clusterDomain],
  };
  return [...build[name](), ...common];
}

/** The configuration files of an instance, in upstream's formats where there is one; by file name. */
export function configurationFiles(options: UpOptions): Record<string, unknown> {
  const paths = instancePaths(options.dataDirectory);
  return {
    'kubelet.yaml': {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      staticPodPath: paths.manifests,
      containerRuntimeEndpoint: runtimeEndpoint(options),
      clusterDNS: [addressInRange(options.serviceCidr, 10)],
      clusterDomain,
      cgroupRoot: cgroupRoot(options.dataDirectory),
      podLogsDir: paths.podLogs,
      authentication: {
        x509: { clientCAFile: join(paths.pki, 'ca.crt') },
        webhook: { enabled: true },
        anonymous: { enabled: false },
      },
      authorization: { mode: 'Webhook' },
      tlsCertFile: join(paths.pki, 'kubelet-server.crt'),
      tlsPrivateKeyFile: join(paths.pki, 'kubelet-server.key'),
      // The API server is the instance's own, and so is the network: neither needs to be spared or guarded.
      kubeAPIQPS: 500,
      kubeAPIBurst: 1000,
      makeIPTablesUtilChains: false,
    },
    'proxy.yaml': {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      clientConnection: { kubeconfig: join(paths.pki, 'kube-proxy.conf') },
      ...proxyConfiguration(options),
    },
    'runtime.yaml': {},
  };
}

/** Fields of the proxy's configuration that are the same wherever it runs. */
export function proxyConfiguration(options: UpOptions): Record<string, unknown> {
  return {
    mode: options.proxyMode,
    clusterCIDR: podCidrs(options),
    nodePortAddresses: ['0.0.0.0/0', '::/0'],
    // How many connections the machine tracks is not for an instance to say.
    conntrack: { maxPerCore: 0 },
  };
}

/** A cgroup of the instance's own, so that several instances keep apart. */
export function cgroupRoot(dataDirectory: string): string {
  return `/deckhand-${dataDirectory.replace(/^\//, '').replaceAll(/[^A-Za-z0-9.]+/g, '-')}`;
}

/** The ranges of pods as components take them. */
const podCidrs = ({ podCidr, podCidr6 }: UpOptions): string => [podCidr, podCidr6].filter(Boolean).join(',');
