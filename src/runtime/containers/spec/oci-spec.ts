/** The parts of the OCI runtime specification that we write (config.json). */
export interface OciSpec {
  ociVersion: string;
  hostname?: string;
  root: { path: string; readonly: boolean };
  process: OciProcess;
  mounts: OciMount[];
  annotations: Record<string, string>;
  linux: {
    namespaces: { type: 'pid' | 'network' | 'ipc' | 'uts' | 'mount' | 'cgroup' | 'user'; path?: string }[];
    cgroupsPath: string;
    rootfsPropagation?: string;
    devices: OciDevice[];
    resources: OciResources;
    maskedPaths: string[];
    readonlyPaths: string[];
    seccomp?: OciSeccomp;
    uidMappings?: OciIdMapping[];
    gidMappings?: OciIdMapping[];
    mountLabel?: string;
    intelRdt?: Record<string, unknown>;
  };
  hooks?: Partial<Record<string, OciHook[]>>;
}

/** A run of ids of a user namespace. */
export interface OciIdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

/** A program that the OCI runtime runs at a point of a container's life. */
export interface OciHook {
  path: string;
  args?: string[] | undefined;
  env?: string[] | undefined;
  /** Seconds. */
  timeout?: number | undefined;
}

/** A process in a container; also what `runc exec --process` reads. */
export interface OciProcess {
  terminal: boolean;
  /** In characters. */
  consoleSize?: { width: number; height: number };
  user: { uid: number; gid: number; additionalGids: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities: Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', string[]>;
  rlimits: { type: string; hard: number; soft: number }[];
  noNewPrivileges: boolean;
  oomScoreAdj?: number;
  apparmorProfile?: string;
  selinuxLabel?: string;
}

/** A mount in a container. */
export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

/** A device file in a container. */
export interface OciDevice {
  path: string;
  type: 'c' | 'b' | 'p';
  major: number;
  minor: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

/** Limits of a container. */
export interface OciResources {
  devices: { allow: boolean; type?: string; major?: number; minor?: number; access: string }[];
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string };
  memory?: { limit?: number; swap?: number };
  pids?: { limit: number };
  hugepageLimits?: { pageSize: string; limit: number }[];
  unified?: Record<string, string>;
}

/** A filter of system calls. */
export interface OciSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  syscalls?: {
    names: string[];
    action: string;
    errnoRet?: number;
    args?: { index: number; value: number; valueTwo?: number; op: string }[];
  }[];
}
