import type { RegistryConfig } from '../images/index.ts';
import {
  absolutePath,
  addressRanges,
  bytes,
  duration,
  list,
  mapping,
  oneOf,
  record,
  type Schema,
  secret,
  text,
  textLike,
  toggle,
  type ValueOf,
  wholeNumber,
} from './schema.ts';

/** One setting of the runtime: what it may be, what it is when nobody says, and what it is for. */
export interface Setting<T, Required extends boolean> {
  schema: Schema<T>;
  /** Undefined: it is found on the machine, or has no effect until it is given. */
  default?: T;
  /** How the default is told where it is no plain value. */
  defaultText?: string;
  required: Required;
  /** Takes effect on reload, without a restart. */
  live?: true;
  /** The option of the command that sets it too, with the name of its value. */
  flag?: { name: string; value: string };
  /** One sentence for the documentation and --help. */
  help: string;
}

type More = Omit<Partial<Setting<unknown, boolean>>, 'schema' | 'default' | 'required' | 'help'>;

/** A setting that always has a value. */
const setting = <T>(schema: Schema<T>, fallback: NoInfer<T>, help: string, more: More = {}): Setting<T, true> => ({
  schema,
  default: fallback,
  required: true,
  help,
  ...more,
});

/** A setting that may be missing. */
const optional = <T>(schema: Schema<T>, help: string, more: More = {}): Setting<T, false> => ({
  schema,
  required: false,
  help,
  ...more,
});

const registryRule: Schema<RegistryConfig> = record(
  { registry: text() },
  {
    mirrors: list(textLike('an address such as https://mirror.example:5000', /^https?:\/\/[^\s]+$/)),
    plainHttp: toggle(),
    insecureSkipTlsVerify: toggle(),
    ca: text(),
    cert: text(),
    key: secret(),
    auth: record(
      {},
      {
        username: text(),
        password: secret(),
        auth: secret(),
        identityToken: secret(),
        registryToken: secret(),
        serverAddress: text(),
      },
    ),
    headers: mapping(secret()),
  },
);

/**
 * Every setting of the runtime's configuration file, in the order of the documentation. A new setting is one line
 * here; its type, its default, its place in the file, in `deckhand runtime check` and in docs/runtime.md follow.
 */
export const settingTable = {
  logLevel: optional(oneOf('debug', 'info', 'warn', 'error'), 'Lines below this level are not written.', {
    live: true,
    defaultText: '`info`, or as `-v` says',
  }),
  socketMode: setting(
    textLike('permissions in octal, such as "0660"', /^0?[0-7]{3}$/),
    '0660',
    'Permissions of the socket.',
    { flag: { name: 'socket-mode', value: 'MODE' } },
  ),
  socketGroup: optional(wholeNumber(0, 2 ** 32 - 2), 'Number of the group that owns the socket.'),
  metricsAddress: optional(
    textLike('an address and a port, such as 127.0.0.1:9095', /^.+:\d+$/),
    'Where metrics are served over HTTP, in the Prometheus format, at `/metrics`.',
    { flag: { name: 'metrics-address', value: 'ADDR:PORT' } },
  ),
  cgroupParent: setting(
    absolutePath(),
    '/deckhand',
    'The cgroup below which sandboxes go whose request names no parent.',
    {
      flag: { name: 'cgroup-parent', value: 'PATH' },
    },
  ),
  podCidr: optional(
    addressRanges(),
    'Addresses of pods on the built-in bridge; until it is known, from here or from a kubelet, the network is not ready.',
    { flag: { name: 'pod-cidr', value: 'CIDR' } },
  ),
  bridgeName: setting(
    textLike('a link name of at most 15 characters', /^[\w.-]{1,15}$/),
    'deckhand0',
    'The built-in bridge.',
  ),
  mtu: optional(wholeNumber(576, 65_535), 'Largest packet on the built-in bridge; at least 1280 for IPv6.', {
    defaultText: 'that of the link with the default route, else 1500',
  }),
  bridgeRules: optional(oneOf('nftables', 'iptables'), 'What the rules of the built-in bridge are written with.', {
    defaultText: '`nftables` where the kernel has it',
  }),
  cniConfDir: optional(
    absolutePath(),
    'A directory with CNI configurations; while it holds one, plugins make the pod network instead of the bridge.',
    { flag: { name: 'cni-conf-dir', value: 'DIR' } },
  ),
  cniBinDirs: setting(
    list(absolutePath()),
    ['/opt/cni/bin', '/usr/lib/cni'],
    'Where CNI plugins are looked for, in this order.',
  ),
  cniTimeoutMs: setting(
    duration(),
    60_000,
    'How long the CNI plugins of a network may take for one pod, all together; then they are killed.',
  ),
  runtimes: optional(
    list(record({ name: textLike('a name', /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/), path: absolutePath() }, {})),
    'OCI runtimes that pods can choose by name (runtime handlers); the first is the default.',
    { defaultText: 'those of `runc` and `crun` that are installed' },
  ),
  ociTimeoutMs: setting(
    duration(),
    90_000,
    'How long an OCI runtime may take to create or start a container; then it is killed with what it has begun.',
  ),
  conmonPath: optional(absolutePath(), 'The program that watches over containers.', {
    defaultText: '`conmon` in the usual directories',
  }),
  registries: setting(list(registryRule), [], 'Rules for registries, see below.', { live: true }),
  registryHostsDirectory: optional(
    absolutePath(),
    "A directory of rules for registries in containerd's layout, `<host[:port]>/hosts.toml`; read again when it changes.",
  ),
  registriesConf: optional(
    absolutePath(),
    'A `registries.conf` (version 2) as podman and CRI-O have, with the files of `registries.conf.d` beside it; read again when it changes.',
  ),
  registryAuthFiles: optional(
    list(absolutePath()),
    'Files with credentials as `docker login` and `podman login` write them; read again when they change.',
  ),
  pinnedImages: setting(
    list(text()),
    [],
    'Images that kubelets must not remove when they need room: a name, its beginning (`registry/team/*`) or a part of it (`*pause*`).',
  ),
  pullProgressTimeoutMs: setting(
    duration(),
    300_000,
    'A pull in which nothing comes for so long ends, whatever it is trying.',
  ),
  maximumLayerBytes: setting(bytes(), 64 * 2 ** 30, 'Layers that are larger than this when unpacked are refused.'),
  maximumLayerEntries: setting(
    wholeNumber(1, 1_000_000_000),
    2_000_000,
    'Layers with more files than this are refused.',
  ),
  maxParallelLayers: setting(wholeNumber(1, 64), 3, 'Layers fetched at once for one image.'),
  seccompProfileRoot: setting(
    absolutePath(),
    '/var/lib/kubelet/seccomp',
    'Where Localhost seccomp profiles with relative names are.',
  ),
  defaultSysctls: setting(
    mapping(text()),
    { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' },
    'Sysctls of every pod with a network of its own; those of a pod go before them.',
  ),
  defaultUlimits: setting(
    mapping(
      record({ soft: wholeNumber(0, Number.MAX_SAFE_INTEGER), hard: wholeNumber(0, Number.MAX_SAFE_INTEGER) }, {}),
    ),
    {},
    'Limits of the processes of containers by name, such as `nofile`; those not named are as the runtime has them.',
  ),
  cdiSpecDirs: setting(
    list(absolutePath()),
    ['/etc/cdi', '/var/run/cdi'],
    'Directories with Container Device Interface specifications; a device of a later one goes before.',
  ),
  hooksDirs: setting(
    list(absolutePath()),
    [],
    'Directories with OCI hook configurations (`*.json`), which add hooks to containers; none by default.',
  ),
  streamingAddress: setting(text(), '127.0.0.1', 'Where exec, attach and port-forward are served.'),
  streamingPort: setting(wholeNumber(0, 65_535), 0, 'The port of that; 0 is any free one.'),
  streamingTls: optional(
    record({ certificateFile: absolutePath(), keyFile: absolutePath() }, {}),
    'PEM files with which it speaks TLS; without them it should listen where nobody else is.',
  ),
  streamingIdleTimeoutMs: setting(
    duration(),
    4 * 3_600_000,
    'After how long a streaming connection on which nothing happens is closed.',
  ),
  streamingSetupTimeoutMs: setting(
    duration(),
    30_000,
    'How long a client may take to open the streams of its connection.',
  ),
} as const satisfies Record<string, Setting<any, boolean>>;

type Table = typeof settingTable;

/** The settings of the file by name, all of them optional. */
export type FileSettings = { -readonly [K in keyof Table]?: ValueOf<Table[K]['schema']> };

/** The settings with defaults filled in. */
export type FilledSettings = {
  -readonly [K in keyof Table as Table[K]['required'] extends true ? K : never]: ValueOf<Table[K]['schema']>;
} & {
  -readonly [K in keyof Table as Table[K]['required'] extends true ? never : K]?: ValueOf<Table[K]['schema']>;
};
