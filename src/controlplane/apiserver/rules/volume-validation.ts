import type { FieldError } from '../extension-points.ts';
import { validateFieldRef, validateLocalPath, validateResourceRef } from './container-validation.ts';
import { duplicate, forbiddenField, invalidValue, notSupported, required } from './field-errors.ts';
import { checkLabelName } from './names.ts';
import { validateAmount } from './resources-validation.ts';

const hostPathTypes = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
];
const downwardFields = new Set([
  'metadata.annotations',
  'metadata.labels',
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
]);

/** Validates the volumes of a pod. */
export function validateVolumes(volumes: any[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  volumes.forEach((volume, index) => {
    const at = `${field}[${index}]`;
    if (!volume.name) errors.push(required(`${at}.name`));
    else {
      errors.push(...checkLabelName(volume.name).map((text) => invalidValue(`${at}.name`, volume.name, text)));
      if (names.has(volume.name)) errors.push(duplicate(`${at}.name`, volume.name));
      names.add(volume.name);
    }
    const sources = Object.keys(volume).filter((key) => key !== 'name' && volume[key] != null);
    for (const extra of sources.slice(1)) {
      errors.push(forbiddenField(`${at}.${extra}`, 'may not specify more than 1 volume type'));
    }
    if (sources.length === 0) errors.push(required(at, 'must specify a volume type'));
    else errors.push(...(validators[sources[0]!]?.(volume[sources[0]!], `${at}.${sources[0]}`) ?? []));
  });
  return errors;
}

const validators: Record<string, (source: any, field: string) => FieldError[]> = {
  emptyDir: (source, field) => {
    if (source.sizeLimit === undefined || source.sizeLimit === null) return [];
    return validateAmount('memory', source.sizeLimit, `${field}.sizeLimit`);
  },
  hostPath: (source, field) => {
    const errors: FieldError[] = [];
    if (!source.path) errors.push(required(`${field}.path`));
    else if (source.path.split('/').includes('..')) {
      errors.push(invalidValue(`${field}.path`, source.path, "must not contain '..'"));
    }
    if (source.type && !hostPathTypes.includes(source.type)) {
      errors.push(notSupported(`${field}.type`, source.type, hostPathTypes));
    }
    return errors;
  },
  secret: (source, field) => [
    ...(source.secretName ? [] : [required(`${field}.secretName`)]),
    ...validateMode(source.defaultMode, `${field}.defaultMode`),
    ...validateItems(source.items, `${field}.items`),
  ],
  configMap: (source, field) => [
    ...(source.name ? [] : [required(`${field}.name`)]),
    ...validateMode(source.defaultMode, `${field}.defaultMode`),
    ...validateItems(source.items, `${field}.items`),
  ],
  downwardAPI: (source, field) => [
    ...validateMode(source.defaultMode, `${field}.defaultMode`),
    ...validateDownwardItems(source.items, `${field}.items`),
  ],
  projected: validateProjected,
  persistentVolumeClaim: (source, field) => (source.claimName ? [] : [required(`${field}.claimName`)]),
  nfs: (source, field) => [
    ...(source.server ? [] : [required(`${field}.server`)]),
    ...(source.path ? [] : [required(`${field}.path`)]),
    ...(source.path && !source.path.startsWith('/')
      ? [invalidValue(`${field}.path`, source.path, 'must be an absolute path')]
      : []),
  ],
  csi: (source, field) => (source.driver ? [] : [required(`${field}.driver`)]),
  ephemeral: (source, field) => {
    if (!source.volumeClaimTemplate) return [required(`${field}.volumeClaimTemplate`)];
    const { spec } = source.volumeClaimTemplate;
    return spec?.accessModes?.length
      ? []
      : [required(`${field}.volumeClaimTemplate.spec.accessModes`, 'at least 1 access mode is required')];
  },
};

function validateMode(mode: number | undefined, field: string): FieldError[] {
  if (mode === undefined || mode === null || (mode >= 0 && mode <= 0o777)) return [];
  return [invalidValue(field, mode, 'must be a number between 0 and 0777 (octal), both inclusive')];
}

function validateItems(items: any[] | undefined, field: string): FieldError[] {
  return (items ?? []).flatMap((item, index) => {
    const at = `${field}[${index}]`;
    return [
      ...(item.key ? [] : [required(`${at}.key`)]),
      ...(item.path ? validateItemPath(item.path, `${at}.path`) : [required(`${at}.path`)]),
      ...validateMode(item.mode, `${at}.mode`),
    ];
  });
}

function validateItemPath(path: string, field: string): FieldError[] {
  const errors = validateLocalPath(path, field);
  if (path.startsWith('..') && !path.startsWith('../'))
    errors.push(invalidValue(field, path, "must not start with '..'"));
  return errors;
}

function validateDownwardItems(items: any[] | undefined, field: string): FieldError[] {
  return (items ?? []).flatMap((item, index) => {
    const at = `${field}[${index}]`;
    const errors: FieldError[] = item.path ? validateItemPath(item.path, `${at}.path`) : [required(`${at}.path`)];
    if (item.fieldRef) errors.push(...validateFieldRef(item.fieldRef, `${at}.fieldRef`, downwardFields));
    else if (item.resourceFieldRef) {
      errors.push(...validateResourceRef(item.resourceFieldRef, `${at}.resourceFieldRef`, true));
    } else errors.push(required(at, 'one of fieldRef and resourceFieldRef is required'));
    return [...errors, ...validateMode(item.mode, `${at}.mode`)];
  });
}

function validateProjected(source: any, field: string): FieldError[] {
  const errors = validateMode(source.defaultMode, `${field}.defaultMode`);
  (source.sources ?? []).forEach((one: any, index: number) => {
    const at = `${field}.sources[${index}]`;
    const kinds = ['secret', 'configMap', 'downwardAPI', 'serviceAccountToken', 'clusterTrustBundle', 'podCertificate'];
    const given = kinds.filter((kind) => one[kind]);
    for (const kind of given.slice(1))
      errors.push(forbiddenField(`${at}.${kind}`, 'may not specify more than 1 volume type'));
    if (one.secret) {
      if (!one.secret.name) errors.push(required(`${at}.secret.name`));
      errors.push(...validateItems(one.secret.items, `${at}.secret.items`));
    }
    if (one.configMap) {
      if (!one.configMap.name) errors.push(required(`${at}.configMap.name`));
      errors.push(...validateItems(one.configMap.items, `${at}.configMap.items`));
    }
    if (one.downwardAPI) errors.push(...validateDownwardItems(one.downwardAPI.items, `${at}.downwardAPI.items`));
    const token = one.serviceAccountToken;
    if (!token) return;
    if (!token.path) errors.push(required(`${at}.serviceAccountToken.path`));
    const lifetime = token.expirationSeconds;
    if (lifetime < 600) {
      const text = 'may not specify a duration less than 10 minutes';
      errors.push(invalidValue(`${at}.serviceAccountToken.expirationSeconds`, lifetime, text));
    } else if (lifetime > 2 ** 32) {
      const text = 'may not specify a duration larger than 2^32 seconds';
      errors.push(invalidValue(`${at}.serviceAccountToken.expirationSeconds`, lifetime, text));
    }
  });
  return errors;
}
