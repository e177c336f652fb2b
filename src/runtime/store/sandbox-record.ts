import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { type PodSandboxConfig, PodSandboxConfigSchema } from '../../api/cri/index.ts';
import type { ProcessIdentity } from '../../host/exec/index.ts';
import type { SharedNamespace, UserMapping } from '../../host/namespaces/index.ts';
import type { PodAttachment } from '../network/pod-network.ts';

/**
 * A sandbox as kept on disk.
 *
 * ```
 * creating ──► ready ──► notReady ──► (removed)
 *     └───────────────────► undone at the next start, or at once when a step fails
 * ```
 */
export interface SandboxRecord {
  version: 1;
  id: string;
  phase: 'creating' | 'ready' | 'notReady';
  config: PodSandboxConfig;
  runtimeHandler: string;
  createdAtNs: bigint;
  cgroupParent: string;
  /** Files that keep the namespaces which the containers share. */
  namespaces: Partial<Record<SharedNamespace, string>>;
  /** The ids of its user namespace; without it, the containers are in the host's. */
  userMapping?: UserMapping;
  /** PID 1 of a shared PID namespace. */
  holder?: ProcessIdentity;
  network?: PodAttachment;
}

/** The form on disk. */
export function encodeSandbox(record: SandboxRecord): string {
  return JSON.stringify({
    ...record,
    config: toJson(PodSandboxConfigSchema, record.config),
    createdAtNs: String(record.createdAtNs),
  });
}

/** Reads the form on disk. @throws Error when it is of another version or broken */
export function decodeSandbox(text: string): SandboxRecord {
  const raw = JSON.parse(text) as Omit<SandboxRecord, 'config' | 'createdAtNs'> & {
    config: JsonValue;
    createdAtNs: string;
  };
  if (raw.version !== 1) throw new Error(`sandbox record of version ${raw.version} is not known`);
  return {
    ...raw,
    config: fromJson(PodSandboxConfigSchema, raw.config, { ignoreUnknownFields: true }),
    createdAtNs: BigInt(raw.createdAtNs),
  };
}
