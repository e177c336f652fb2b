import { invalid } from '../../errors.ts';

/** A specification file of the Container Device Interface: what a vendor's devices need in a container. */
export interface CdiSpec {
  cdiVersion: string;
  /** `vendor.com/class` */
  kind: string;
  containerEdits?: CdiEdits;
  devices: { name: string; containerEdits: CdiEdits }[];
}

/** Changes to a container's OCI configuration. */
export interface CdiEdits {
  env?: string[];
  deviceNodes?: CdiDeviceNode[];
  mounts?: { hostPath: string; containerPath: string; options?: string[]; type?: string }[];
  hooks?: { hookName: string; path: string; args?: string[]; env?: string[]; timeout?: number }[];
  additionalGids?: number[];
  intelRdt?: Record<string, unknown>;
  netDevices?: unknown[];
}

/** A device file; what is missing is as the host's. */
export interface CdiDeviceNode {
  path: string;
  hostPath?: string;
  type?: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  permissions?: string;
  uid?: number;
  gid?: number;
}

/** Versions of the specification whose fields are all known here. */
const versions = ['0.1.0', '0.2.0', '0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0', '1.1.0'];

const vendorPattern = /^[A-Za-z]([\w.-]*[A-Za-z0-9])?$/;
const classPattern = /^[A-Za-z]([\w-]*[A-Za-z0-9])?$/;
const devicePattern = /^[A-Za-z0-9]([\w.:-]*[A-Za-z0-9])?$/;

const editFields: Record<keyof CdiEdits, 'list' | 'object'> = {
  env: 'list',
  deviceNodes: 'list',
  mounts: 'list',
  hooks: 'list',
  additionalGids: 'list',
  intelRdt: 'object',
  netDevices: 'list',
};

/** Takes what was read from a file as a specification. @throws Error saying what is wrong */
export function checkCdiSpec(value: unknown): CdiSpec {
  const spec = value as Partial<CdiSpec> | undefined;
  if (typeof spec !== 'object' || spec === null) throw new Error('it is no mapping');
  const version = String(spec.cdiVersion ?? '');
  if (!versions.includes(version.replace(/^v/, ''))) throw new Error(`cdiVersion "${version}" is not known`);
  checkKind(spec.kind);
  if (!Array.isArray(spec.devices) || spec.devices.length === 0) throw new Error('it has no devices');
  const names = new Set<string>();
  for (const { name, containerEdits } of spec.devices) {
    if (!devicePattern.test(name ?? '')) throw new Error(`"${name}" is no name of a device`);
    if (names.has(name)) throw new Error(`device ${name} is there twice`);
    names.add(name);
    checkEdits(containerEdits ?? {}, `device ${name}`);
  }
  checkEdits(spec.containerEdits ?? {}, 'containerEdits');
  return spec as CdiSpec;
}

function checkKind(kind: unknown): void {
  const [vendor, name, ...more] = String(kind ?? '').split('/');
  if (!vendorPattern.test(vendor ?? '') || !classPattern.test(name ?? '') || more.length > 0)
    throw new Error(`kind ${JSON.stringify(kind)} is not of the form vendor/class`);
}

function checkEdits(edits: CdiEdits, place: string): void {
  for (const [field, content] of Object.entries(edits)) {
    const kind = editFields[field as keyof CdiEdits];
    if (!kind) throw new Error(`${place}: field ${field} is not known`);
    if (Array.isArray(content) !== (kind === 'list')) throw new Error(`${place}: ${field} is no ${kind}`);
  }
  for (const entry of edits.env ?? [])
    if (!/^[^=]+=/.test(entry)) throw new Error(`${place}: env "${entry}" is not of the form name=value`);
  for (const node of edits.deviceNodes ?? []) if (!node.path) throw new Error(`${place}: a device node has no path`);
  for (const mount of edits.mounts ?? [])
    if (!mount.hostPath || !mount.containerPath)
      throw new Error(`${place}: a mount needs a host path and a container path`);
  for (const hook of edits.hooks ?? [])
    if (!hook.path || !hook.hookName) throw new Error(`${place}: a hook needs a name and a path`);
}

/** Splits `vendor/class=name`. @throws RuntimeError INVALID_ARGUMENT */
export function parseCdiName(qualified: string): { kind: string; device: string } {
  const at = qualified.indexOf('=');
  const [kind, device] = [qualified.slice(0, at), qualified.slice(at + 1)];
  try {
    if (at < 0) throw new Error('it has no "="');
    checkKind(kind);
    if (!devicePattern.test(device)) throw new Error(`"${device}" is no name of a device`);
  } catch (cause) {
    throw invalid(`CDI device "${qualified}" is not of the form vendor/class=name: ${(cause as Error).message}`);
  }
  return { kind, device };
}
