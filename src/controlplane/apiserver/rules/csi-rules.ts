import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError, ResourceRules } from '../extension-points.ts';
import {
  duplicate,
  forbiddenField,
  immutableText,
  invalidValue,
  notSupported,
  required,
  tooLong,
} from './field-errors.ts';
import { checkQualifiedName, checkSubdomain } from './names.ts';

const policies = ['File', 'None', 'ReadWriteOnceWithFSType'];
const lifecycleModes = ['Persistent', 'Ephemeral'];

/** What a driver's name and a node's name for it may have at most, characters. */
const longest = { driver: 63, nodeId: 192, metadata: 256 * 1024, message: 1024 };

function checkDriverName(field: string, name: unknown): FieldError[] {
  if (typeof name !== 'string' || name === '') return [required(field)];
  if (name.length > longest.driver) return [tooLong(field, longest.driver)];
  return checkSubdomain(name.toLowerCase()).map((text) => invalidValue(field, name, text));
}

/** Rules of CSIDrivers. */
export const csiDriverRules: ResourceRules = {
  setDefaults: ({ spec }) => {
    if (!spec) return;
    spec.attachRequired ??= true;
    spec.podInfoOnMount ??= false;
    spec.storageCapacity ??= false;
    spec.fsGroupPolicy ??= 'ReadWriteOnceWithFSType';
    if (!spec.volumeLifecycleModes?.length) spec.volumeLifecycleModes = ['Persistent'];
    spec.requiresRepublish ??= false;
    spec.seLinuxMount ??= false;
  },
  validate: ({ spec = {} }, old) => {
    const errors: FieldError[] = [];
    if (!policies.includes(spec.fsGroupPolicy))
      errors.push(notSupported('spec.fsGroupPolicy', spec.fsGroupPolicy, policies));
    for (const mode of spec.volumeLifecycleModes ?? []) {
      if (!lifecycleModes.includes(mode)) errors.push(notSupported('spec.volumeLifecycleModes', mode, lifecycleModes));
    }
    errors.push(...checkTokenRequests(spec.tokenRequests ?? []));
    const period = spec.nodeAllocatableUpdatePeriodSeconds;
    if (period !== undefined && period !== null && period < 10) {
      const field = 'spec.nodeAllocatableUpdatePeriodSeconds';
      errors.push(invalidValue(field, period, 'must be greater than or equal to 10 seconds'));
    }
    const inSecrets = spec.serviceAccountTokenInSecrets;
    if (inSecrets !== undefined && inSecrets !== null && !spec.tokenRequests?.length) {
      const text = 'serviceAccountTokenInSecrets is set but no tokenRequests are specified';
      errors.push(invalidValue('spec.serviceAccountTokenInSecrets', inSecrets, text));
    }
    if (!old) return errors;
    for (const key of ['attachRequired', 'volumeLifecycleModes']) {
      if (!deepEqual(spec[key] ?? null, old.spec?.[key] ?? null))
        errors.push(invalidValue(`spec.${key}`, spec[key], immutableText));
    }
    return errors;
  },
};

function checkTokenRequests(requests: any[]): FieldError[] {
  const audiences = new Set<string>();
  return requests.flatMap(({ audience = '', expirationSeconds }, index) => {
    const at = `spec.tokenRequests[${index}]`;
    if (audiences.has(audience)) return [duplicate(`${at}.audience`, audience)];
    audiences.add(audience);
    if (expirationSeconds === undefined || expirationSeconds === null) return [];
    const field = `${at}.expirationSeconds`;
    if (expirationSeconds < 600)
      return [invalidValue(field, expirationSeconds, 'may not specify a duration less than 10 minutes')];
    if (expirationSeconds > 2 ** 32)
      return [invalidValue(field, expirationSeconds, 'may not specify a duration larger than 2^32 seconds')];
    return [];
  });
}

/** Rules of CSINodes. */
export const csiNodeRules: ResourceRules = {
  validate: ({ spec = {} }, old) => {
    const names = new Set<string>();
    const errors = (spec.drivers ?? []).flatMap((driver: any, index: number) => {
      const at = `spec.drivers[${index}]`;
      const repeated = names.has(driver.name) ? [duplicate(`${at}.name`, driver.name)] : [];
      names.add(driver.name);
      return [...checkNodeDriver(driver, at), ...repeated];
    });
    for (const before of old?.spec?.drivers ?? []) {
      const now = spec.drivers?.find(({ name }: any) => name === before.name);
      // How many volumes a node can have may change; who the node is to the driver may not.
      if (now && !deepEqual({ ...now, allocatable: null }, { ...before, allocatable: null }))
        errors.push(invalidValue('spec.drivers', now, immutableText));
    }
    return errors;
  },
};

function checkNodeDriver({ name, nodeID, allocatable, topologyKeys = [] }: any, at: string): FieldError[] {
  const errors = checkDriverName(`${at}.name`, name);
  if (!nodeID) errors.push(required(`${at}.nodeID`));
  else if (nodeID.length > longest.nodeId)
    errors.push(invalidValue(`${at}.nodeID`, nodeID, `must be ${longest.nodeId} characters or less`));
  if (allocatable?.count < 0)
    errors.push(invalidValue(`${at}.allocatable.count`, allocatable.count, 'must be greater than or equal to 0'));
  const keys = new Set<string>();
  for (const key of topologyKeys) {
    if (!key) errors.push(required(`${at}.topologyKeys`));
    if (keys.has(key)) errors.push(duplicate(`${at}.topologyKeys`, key));
    keys.add(key);
    errors.push(...checkQualifiedName(key).map((text) => invalidValue(`${at}.topologyKeys`, key, text)));
  }
  return errors;
}

/** Rules of VolumeAttachments. */
export const volumeAttachmentRules: ResourceRules = {
  validate: ({ spec = {}, status = {} }, old) => {
    const errors = checkDriverName('spec.attacher', spec.attacher);
    const { inlineVolumeSpec, persistentVolumeName } = spec.source ?? {};
    const one = 'must specify exactly one of inlineVolumeSpec and persistentVolumeName';
    if (!inlineVolumeSpec && (persistentVolumeName === undefined || persistentVolumeName === null))
      errors.push(required('spec.source', one));
    else if (inlineVolumeSpec && persistentVolumeName) errors.push(forbiddenField('spec.source', one));
    else if (!inlineVolumeSpec && persistentVolumeName === '')
      errors.push(required('spec.source.persistentVolumeName', 'must specify non empty persistentVolumeName'));
    if (!spec.nodeName) errors.push(required('spec.nodeName'));
    else
      errors.push(...checkSubdomain(spec.nodeName).map((text) => invalidValue('spec.nodeName', spec.nodeName, text)));
    errors.push(...checkAttachmentStatus(status));
    if (old && !deepEqual(spec, old.spec ?? {})) errors.push(invalidValue('spec', spec, immutableText));
    return errors;
  },
};

function checkAttachmentStatus(status: any): FieldError[] {
  const errors: FieldError[] = [];
  const size = Object.entries<string>(status.attachmentMetadata ?? {}).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  );
  if (size > longest.metadata) errors.push(tooLong('status.attachmentMetadata', longest.metadata));
  for (const key of ['attachError', 'detachError']) {
    if (Buffer.byteLength(status[key]?.message ?? '') > longest.message)
      errors.push(tooLong(`status.${key}.message`, longest.message));
  }
  return errors;
}

/** Rules of CSIStorageCapacities. */
export const csiStorageCapacityRules: ResourceRules = {
  validate: (object, old) => {
    const errors: FieldError[] = [];
    if (!object.storageClassName) errors.push(required('storageClassName'));
    if (typeof object.capacity === 'string' && object.capacity.startsWith('-'))
      errors.push(invalidValue('capacity', object.capacity, 'must be greater than or equal to 0'));
    for (const key of old ? ['nodeTopology', 'storageClassName'] : []) {
      if (!deepEqual(object[key] ?? null, old![key] ?? null))
        errors.push(invalidValue(key, object[key], immutableText));
    }
    return errors;
  },
};
