import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import {
  type ContainerConfig,
  ContainerConfigSchema,
  type LinuxContainerResources,
  LinuxContainerResourcesSchema,
} from '../../api/cri/index.ts';
import type { ProcessIdentity } from '../../host/exec/index.ts';

/**
 * Where a container is in its life.
 *
 * ```
 * created ──► starting ──► running ──► exited
 *    └────────────┴─ (start failed) ─────┘
 * ```
 */
export type ContainerPhase =
  | { name: 'created' }
  | { name: 'starting' }
  | { name: 'running'; process: ProcessIdentity; startedAtNs: string }
  | {
      name: 'exited';
      startedAtNs: string;
      finishedAtNs: string;
      exitCode: number;
      /** `Completed`, `Error`, `OOMKilled`, `StartError`, `Unknown`. */
      reason: string;
      message: string;
    };

/** The user that a container's process has. */
export interface ResolvedUser {
  uid: number;
  gid: number;
  groups: number[];
}

/** The image of a container as the status tells of it. */
export interface ContainerImage {
  /** The image's id, `sha256:…`. */
  id: string;
  /** What the status calls `image_ref`. */
  reference: string;
}

/** A container as kept on disk. */
export interface ContainerRecord {
  version: 1;
  id: string;
  sandboxId: string;
  config: ContainerConfig;
  image: ContainerImage;
  createdAtNs: bigint;
  phase: ContainerPhase;
  cgroupPath: string;
  /** Absolute; empty when the container has no log. */
  logPath: string;
  user: ResolvedUser;
  /** As `SIGTERM`. */
  stopSignal: string;
  /** Name of the OCI runtime. */
  runtimeHandler: string;
  /** Limits as last set. */
  resources?: LinuxContainerResources;
  /** What came along with changes of its limits. */
  updateAnnotations?: Record<string, string>;
  /** Image volumes mounted for it: keys of the snapshots. */
  imageMounts: string[];
}

/** The form on disk. */
export function encodeContainer(record: ContainerRecord): string {
  return JSON.stringify({
    ...record,
    config: toJson(ContainerConfigSchema, record.config),
    resources: record.resources && toJson(LinuxContainerResourcesSchema, record.resources),
    createdAtNs: String(record.createdAtNs),
  });
}

/** Reads the form on disk. @throws Error when it is of another version or broken */
export function decodeContainer(text: string): ContainerRecord {
  const raw = JSON.parse(text) as Omit<ContainerRecord, 'config' | 'createdAtNs' | 'resources'> & {
    config: JsonValue;
    createdAtNs: string;
    resources?: JsonValue;
  };
  if (raw.version !== 1) throw new Error(`container record of version ${raw.version} is not known`);
  const lenient = { ignoreUnknownFields: true };
  return {
    ...raw,
    config: fromJson(ContainerConfigSchema, raw.config, lenient),
    resources:
      raw.resources === undefined ? undefined : fromJson(LinuxContainerResourcesSchema, raw.resources, lenient),
    createdAtNs: BigInt(raw.createdAtNs),
  };
}
