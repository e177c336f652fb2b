import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { isIPv6 } from '../host/netlink/index.ts';
import type { ProxySettings } from '../proxy/index.ts';
import { type ComponentName, componentNames, type Place } from './component-module.ts';
import { type Flags, type FlagValues, readLogLevel, UsageError } from './flags.ts';

/** Where the one instance of a machine keeps its data, unless --data-dir names another. */
export const defaultDataDirectory = '/var/lib/deckhand';

/** The option that names an instance, for `up`, `down` and `status` alike. */
export const dataDirFlag = {
  'data-dir': {
    type: 'string',
    value: 'DIR',
    default: defaultDataDirectory,
    help: 'data directory; names the instance',
    notEmpty: true,
  },
} as const satisfies Flags;

/** The options of `deckhand up`. */
export const upFlags = {
  ...dataDirFlag,
  detach: { type: 'boolean', help: 'return when the node is Ready; the instance goes on in the background' },
  demo: { type: 'boolean', help: 'run the demo and tell the story' },
  kubeconfig: { type: 'string', value: 'FILE', help: 'also write the kubeconfig here' },
  'node-name': { type: 'string', value: 'NAME', help: "name of the node (default: the machine's name)" },
  listen: { type: 'string', value: 'ADDR:PORT', default: '0.0.0.0:6443', help: 'where the API server listens' },
  'pod-cidr': {
    type: 'string',
    value: 'CIDR[,CIDR6]',
    default: '10.244.0.0/24',
    help: 'addresses of pods; with an IPv6 range, as in 10.244.0.0/24,fd00:244::/64, pods have one of each family',
  },
  'service-cidr': { type: 'string', value: 'CIDR', default: '10.96.0.0/16', help: 'addresses of Services' },
  'proxy-mode': { type: 'string', value: 'MODE', default: 'nftables', help: 'nftables, iptables or ipvs' },
  proxy: {
    type: 'string',
    value: 'WHERE',
    default: 'component',
    help: 'where the proxy runs: component (beside the others), daemonset (in a pod, as in other clusters) or none (you bring one)',
  },
  'proxy-image': {
    type: 'string',
    value: 'REFERENCE',
    help: 'with --proxy daemonset: the image of its pods (default: one made of this installation)',
    notEmpty: true,
  },
  'runtime-endpoint': { type: 'string', value: 'unix://SOCKET', help: "use this CRI runtime instead of Deckhand's" },
  'kubelet-config': {
    type: 'string',
    value: 'FILE',
    help: "a KubeletConfiguration that is laid over the node's own",
    notEmpty: true,
  },
  'kubelet-arg': {
    type: 'string',
    value: 'FLAG=VALUE',
    multiple: true,
    help: 'an option for the kubelet, without its dashes; may be repeated',
  },
  place: {
    type: 'string',
    value: 'KEY=PLACE',
    multiple: true,
    help: 'run a component (or all) in a process, a thread or inline; may be repeated',
  },
  v: { type: 'string', value: 'LEVEL', default: '2', help: 'log level; 4 and more shows debug lines' },
} as const satisfies Flags;

/** The options of `deckhand up`, checked. */
export interface UpOptions {
  dataDirectory: string;
  detach: boolean;
  demo: boolean;
  kubeconfig: string | undefined;
  nodeName: string;
  listen: { host: string; port: number };
  podCidr: string;
  /** IPv6 addresses of pods beside; undefined for none. */
  podCidr6: string | undefined;
  serviceCidr: string;
  proxyMode: ProxySettings['mode'];
  /** Where the proxy runs; `none`: it is somebody else's. */
  proxy: 'component' | 'daemonset' | 'none';
  /** The image of the DaemonSet's pods; undefined: one is made. */
  proxyImage: string | undefined;
  /** Undefined: Deckhand's own runtime. */
  runtimeEndpoint: string | undefined;
  /** More configuration of the kubelet; undefined for none. */
  kubeletConfig: string | undefined;
  /** More options of the kubelet, as FLAG=VALUE or FLAG. */
  kubeletArguments: string[];
  place: Record<ComponentName, Place>;
  verbose: boolean;
}

/**
 * Where components run unless --place says otherwise: together in one process, which is the lightest (each process more
 * costs about 100 MB). The launcher starts it again when it dies, and every component adopts what it finds.
 */
const defaultPlace: Record<ComponentName, Place> = {
  apiserver: 'inline',
  runtime: 'inline',
  kubelet: 'inline',
  proxy: 'inline',
  scheduler: 'inline',
  controllers: 'inline',
  dns: 'inline',
};

/** Checks the options of `deckhand up`. @throws UsageError naming the option and what it takes */
export function readUpOptions(values: FlagValues<typeof upFlags>): UpOptions {
  const mode = values['proxy-mode'];
  if (mode !== 'nftables' && mode !== 'iptables' && mode !== 'ipvs')
    throw new UsageError(`--proxy-mode ${mode} is not a mode: use nftables, iptables or ipvs`);
  const endpoint = values['runtime-endpoint'];
  if (endpoint !== undefined && !/^unix:\/\/\/./.test(endpoint)) {
    throw new UsageError(`--runtime-endpoint ${endpoint} is not a unix socket: use unix:///path/to/socket`);
  }
  const nodeName = (values['node-name'] ?? hostname()).toLowerCase();
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(nodeName) || nodeName.length > 63) {
    throw new UsageError(
      `--node-name ${nodeName} is not a node name: use lower-case letters, digits, "-" and ".", at most 63`,
    );
  }
  const [podCidr, podCidr6] = readPodCidrs(values['pod-cidr']);
  const serviceCidr = readCidr('--service-cidr', values['service-cidr'], 28);
  if (overlap(podCidr, serviceCidr))
    throw new UsageError(`--pod-cidr ${podCidr} and --service-cidr ${serviceCidr} overlap: choose ranges that do not`);
  return {
    dataDirectory: resolve(values['data-dir']),
    detach: values.detach,
    demo: values.demo,
    kubeconfig: values.kubeconfig === undefined ? undefined : resolve(values.kubeconfig),
    nodeName,
    listen: readListen(values.listen),
    podCidr,
    podCidr6,
    serviceCidr,
    proxyMode: mode,
    ...readProxy(values),
    runtimeEndpoint: endpoint,
    kubeletConfig: values['kubelet-config'] === undefined ? undefined : resolve(values['kubelet-config']),
    kubeletArguments: values['kubelet-arg'].map((one) => one.replace(/^-+/, '')),
    place: readPlaces(values.place),
    verbose: readLogLevel(values.v) >= 4,
  };
}

function readProxy(values: FlagValues<typeof upFlags>): Pick<UpOptions, 'proxy' | 'proxyImage'> {
  const { proxy, 'proxy-image': proxyImage, 'runtime-endpoint': runtime } = values;
  if (proxy !== 'component' && proxy !== 'daemonset' && proxy !== 'none')
    throw new UsageError(`--proxy ${proxy} is no place for the proxy: use component, daemonset or none`);
  if (proxyImage && proxy !== 'daemonset')
    throw new UsageError(`--proxy-image is for --proxy daemonset, and this is --proxy ${proxy}`);
  if (proxy === 'daemonset' && runtime && !proxyImage)
    throw new UsageError(
      `--proxy daemonset with --runtime-endpoint needs --proxy-image: make an image with 'deckhand image build proxy -o FILE', load it with the runtime's own tool, and name it`,
    );
  return { proxy, proxyImage };
}

function readListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([\da-fA-F:.]+)\]|([\d.]+|localhost))?:(\d+)$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port < 1 || port > 65_535)
    throw new UsageError(`--listen ${text} is not an address: use ADDR:PORT, as in 127.0.0.1:6443`);
  const host = match[1] ?? match[2] ?? '0.0.0.0';
  return { host: host === 'localhost' ? '127.0.0.1' : host, port };
}

/** An IPv4 range, and maybe an IPv6 one behind a comma. */
function readPodCidrs(text: string): [string, string | undefined] {
  const [four = '', six, ...more] = text.split(',').map((one) => one.trim());
  const podCidr = readCidr('--pod-cidr', four, 28);
  if (six === undefined) return [podCidr, undefined];
  const [address = '', length] = six.split('/');
  const isRange = isIPv6(address) && /^\d+$/.test(length ?? '') && Number(length) >= 16 && Number(length) <= 112;
  if (!isRange || more.length > 0)
    throw new UsageError(
      `--pod-cidr ${text}: behind the IPv4 range there may be one IPv6 range, ADDRESS/LENGTH with a length of 16 to 112`,
    );
  return [podCidr, six];
}

/** Checks an IPv4 range and gives it with its host bits cleared. */
function readCidr(flag: string, text: string, longest: number): string {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(text);
  const bytes = match?.slice(1, 5).map(Number) ?? [];
  const length = Number(match?.[5]);
  if (!match || bytes.some((byte) => byte > 255) || length < 8 || length > longest) {
    throw new UsageError(
      `${flag} ${text} is not a usable IPv4 range: use ADDRESS/LENGTH with a length of 8 to ${longest}`,
    );
  }
  const address = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return `${formatAddress(address - (address % 2 ** (32 - length)))}/${length}`;
}

function overlap(one: string, other: string): boolean {
  const [first, second] = [one, other].map((cidr) => ({
    base: addressNumber(cidr.split('/')[0]!),
    size: 2 ** (32 - Number(cidr.split('/')[1])),
  })) as [{ base: number; size: number }, { base: number; size: number }];
  return first.base < second.base + second.size && second.base < first.base + first.size;
}

function addressNumber(address: string): number {
  return address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
}

function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/** The nth address of an IPv4 range. */
export function addressInRange(cidr: string, n: number): string {
  return formatAddress(addressNumber(cidr.split('/')[0]!) + n);
}

function readPlaces(list: readonly string[]): Record<ComponentName, Place> {
  const places = { ...defaultPlace };
  for (const one of list) {
    const [key, place] = one.split('=');
    if (place !== 'process' && place !== 'thread' && place !== 'inline') {
      throw new UsageError(`--place ${one}: use KEY=process, KEY=thread or KEY=inline`);
    }
    if (key === 'all') for (const name of componentNames) places[name] = place;
    else if (componentNames.includes(key as ComponentName)) places[key as ComponentName] = place;
    else throw new UsageError(`--place ${one}: there is no component ${key}: use ${componentNames.join(', ')} or all`);
  }
  return places;
}
