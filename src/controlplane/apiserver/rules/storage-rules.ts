/** Rules of claims, volumes and their classes. */
import { quantityValue } from '../../../api/index.ts';
import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError, ResourceRules } from '../extension-points.ts';
import { forbiddenField, invalidValue, notSupported, required } from './field-errors.ts';
import { validateAmount } from './resources-validation.ts';

const accessModes = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];
const volumeModes = ['Block', 'Filesystem'];

function validateAccessModes(modes: string[] | undefined): FieldError[] {
  if (!modes?.length) return [required('spec.accessModes', 'at least 1 access mode is required')];
  const errors = modes
    .filter((mode) => !accessModes.includes(mode))
    .map((mode) => notSupported('spec.accessModes', mode, accessModes));
  if (modes.length > 1 && modes.includes('ReadWriteOncePod'))
    errors.push(forbiddenField('spec.accessModes', 'may not use ReadWriteOncePod with other access modes'));
  return errors;
}

function validateVolumeMode(mode: string | undefined): FieldError[] {
  return mode === undefined || volumeModes.includes(mode) ? [] : [notSupported('spec.volumeMode', mode, volumeModes)];
}

/** Rules of PersistentVolumeClaims. */
export const claimRules: ResourceRules = {
  hasGeneration: false,
  setDefaults: ({ spec = {} }) => {
    spec.volumeMode ||= 'Filesystem';
  },
  prepareForCreate: (claim) => {
    claim.status = { phase: 'Pending' };
  },
  validate: ({ spec = {} }, old, { subresource }) => {
    if (subresource === 'status') return [];
    const errors = [...validateAccessModes(spec.accessModes), ...validateVolumeMode(spec.volumeMode)];
    const size = spec.resources?.requests?.storage;
    if (size === undefined) errors.push(required('spec.resources[storage]'));
    else {
      const amount = validateAmount('storage', size, 'spec.resources[storage]');
      errors.push(...amount);
      if (amount.length === 0 && quantityValue(size) <= 0)
        errors.push(invalidValue('spec.resources[storage]', size, 'must be greater than zero'));
    }
    return old && errors.length === 0 ? validateClaimUpdate(spec, old) : errors;
  },
};

function validateClaimUpdate(spec: any, old: any): FieldError[] {
  const errors: FieldError[] = [];
  const rest = ({ resources: _r, volumeAttributesClassName: _a, volumeName, storageClassName, ...other }: any) => ({
    ...other,
    volumeName: old.spec.volumeName ? volumeName : undefined,
    storageClassName: old.spec.storageClassName === undefined ? undefined : storageClassName,
  });
  if (!deepEqual(rest(spec), rest(old.spec))) {
    const text =
      'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';
    errors.push(forbiddenField('spec', text));
  }
  const [now, before] = [spec, old.spec].map(({ resources }) => quantityValue(resources?.requests?.storage ?? 0));
  if (now !== before && old.status?.phase !== 'Bound')
    errors.push(forbiddenField('spec', 'resources.requests can be changed only while the claim is bound'));
  const capacity = old.status?.capacity?.storage;
  if (now! < before! && (capacity === undefined || now! < quantityValue(capacity)))
    errors.push(forbiddenField('spec.resources.requests.storage', 'field can not be less than status.capacity'));
  return errors;
}

/** Fields of a volume's spec that are not where its data is. */
const notSources = new Set([
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
]);

const sourcesOf = (spec: any): string[] => Object.keys(spec).filter((key) => !notSources.has(key) && spec[key]);

/** Rules of PersistentVolumes. */
export const volumeRules: ResourceRules = {
  hasGeneration: false,
  setDefaults: ({ spec = {} }) => {
    spec.persistentVolumeReclaimPolicy ||= 'Retain';
    spec.volumeMode ||= 'Filesystem';
    if (spec.hostPath) spec.hostPath.type ??= '';
  },
  prepareForCreate: (volume) => {
    volume.status = { phase: 'Pending' };
  },
  validate: ({ spec = {} }, old, { subresource }) => {
    if (subresource === 'status') return [];
    const errors = [...validateAccessModes(spec.accessModes), ...validateVolumeMode(spec.volumeMode)];
    if (spec.capacity?.storage === undefined) errors.push(required('spec.capacity', 'storage is required'));
    else errors.push(...validateAmount('storage', spec.capacity.storage, 'spec.capacity[storage]'));
    const policies = ['Delete', 'Recycle', 'Retain'];
    if (!policies.includes(spec.persistentVolumeReclaimPolicy)) {
      errors.push(notSupported('spec.persistentVolumeReclaimPolicy', spec.persistentVolumeReclaimPolicy, policies));
    }
    errors.push(...validateVolumeSource(spec));
    if (old) errors.push(...validateVolumeUpdate(spec, old.spec));
    return errors;
  },
};

function validateVolumeSource(spec: any): FieldError[] {
  const sources = sourcesOf(spec);
  if (sources.length === 0) return [required('spec', 'must specify a volume type')];
  const errors = sources
    .slice(1)
    .map((source) => forbiddenField(`spec.${source}`, 'may not specify more than 1 volume type'));
  for (const kind of ['local', 'hostPath']) {
    const path: string | undefined = spec[kind]?.path;
    if (!spec[kind]) continue;
    if (!path) errors.push(required(`spec.${kind}.path`));
    else if (path.split('/').includes('..'))
      errors.push(invalidValue(`spec.${kind}.path`, path, "must not contain '..'"));
  }
  if (spec.local && !spec.nodeAffinity?.required)
    errors.push(required('spec.nodeAffinity', 'Local volume requires node affinity'));
  if (spec.nfs) {
    if (!spec.nfs.server) errors.push(required('spec.nfs.server'));
    if (!spec.nfs.path?.startsWith('/'))
      errors.push(invalidValue('spec.nfs.path', spec.nfs.path ?? '', 'must be an absolute path'));
  }
  if (spec.csi) {
    if (!spec.csi.driver) errors.push(required('spec.csi.driver'));
    if (!spec.csi.volumeHandle) errors.push(required('spec.csi.volumeHandle'));
  }
  return errors;
}

function validateVolumeUpdate(spec: any, old: any): FieldError[] {
  const errors: FieldError[] = [];
  const source = (one: any): object => Object.fromEntries(sourcesOf(one).map((key) => [key, one[key]]));
  if (!deepEqual(source(spec), source(old)))
    errors.push(
      forbiddenField('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'),
    );
  for (const key of ['volumeMode', 'nodeAffinity']) {
    if (old[key] !== undefined && !deepEqual(spec[key] ?? null, old[key]))
      errors.push(invalidValue(`spec.${key}`, spec[key] ?? null, 'field is immutable'));
  }
  return errors;
}

/** Rules of StorageClasses. */
export const storageClassRules: ResourceRules = {
  setDefaults: (object) => {
    object.reclaimPolicy ||= 'Delete';
    object.volumeBindingMode ||= 'Immediate';
  },
  validate: (object, old) => {
    const errors: FieldError[] = [];
    if (!object.provisioner) errors.push(required('provisioner'));
    const policies = ['Delete', 'Retain'];
    if (!policies.includes(object.reclaimPolicy))
      errors.push(notSupported('reclaimPolicy', object.reclaimPolicy, policies));
    const modes = ['Immediate', 'WaitForFirstConsumer'];
    if (!modes.includes(object.volumeBindingMode))
      errors.push(notSupported('volumeBindingMode', object.volumeBindingMode, modes));
    if (!old) return errors;
    for (const key of ['provisioner', 'parameters', 'reclaimPolicy', 'volumeBindingMode']) {
      if (!deepEqual(object[key] ?? null, old[key] ?? null)) {
        errors.push(forbiddenField(key, `updates to ${key} are forbidden.`));
      }
    }
    return errors;
  },
};
