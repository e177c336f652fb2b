import type { FieldError } from '../extension-points.ts';
import { forbiddenField, invalidValue, notSupported, required, tooLong } from './field-errors.ts';

/** The longest name of an AppArmor profile, bytes. */
const longestProfile = 4095;

const kinds = ['containers', 'initContainers', 'ephemeralContainers'] as const;

/** The containers of all kinds, each with its place. */
function containersOf(spec: any, field: string): { container: any; at: string }[] {
  return kinds.flatMap((kind) =>
    (spec[kind] ?? []).map((container: any, index: number) => ({ container, at: `${field}.${kind}[${index}]` })),
  );
}

/** Validates who a pod and its containers may be: user namespaces, groups, AppArmor, what is for another system. */
export function validatePodUsers(spec: any, field: string): FieldError[] {
  const all = containersOf(spec, field);
  const context = spec.securityContext ?? {};
  const errors = [
    ...validateHostUsers(spec, field, all),
    ...validateGroups(context, `${field}.securityContext`),
    ...validateAppArmor(context.appArmorProfile, `${field}.securityContext.appArmorProfile`),
  ];
  for (const { container, at } of all)
    errors.push(
      ...validateAppArmor(container.securityContext?.appArmorProfile, `${at}.securityContext.appArmorProfile`),
    );
  if (spec.os?.name === 'linux') {
    const text = 'windows options cannot be set for a linux pod';
    if (context.windowsOptions) errors.push(forbiddenField(`${field}.securityContext.windowsOptions`, text));
    for (const { container, at } of all) {
      if (container.securityContext?.windowsOptions)
        errors.push(forbiddenField(`${at}.securityContext.windowsOptions`, text));
    }
  }
  return errors;
}

/** A pod with users of its own has no namespaces of the node; only such a pod may see all of /proc. */
function validateHostUsers(spec: any, field: string, all: ReturnType<typeof containersOf>): FieldError[] {
  const errors: FieldError[] = [];
  if (spec.hostUsers !== false) {
    for (const { container, at } of all) {
      if (container.securityContext?.procMount !== 'Unmasked') continue;
      const text = '`hostUsers` must be false to use `Unmasked`';
      errors.push(invalidValue(`${at}.securityContext.procMount`, 'Unmasked', text));
    }
    return errors;
  }
  const names = { hostNetwork: 'hostNetwork', hostPID: 'HostPID', hostIPC: 'HostIPC' };
  for (const [key, name] of Object.entries(names))
    if (spec[key]) errors.push(forbiddenField(`${field}.${name}`, 'when `hostUsers` is false'));
  for (const { container, at } of all) {
    // Devices cannot be shown with other owners.
    if (container.volumeDevices?.length)
      errors.push(forbiddenField(`${at}.volumeDevices`, 'when `hostUsers` is false'));
  }
  return errors;
}

const groupPolicies = ['Merge', 'Strict'];
const labelPolicies = ['MountOption', 'Recursive'];

function validateGroups(context: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  (context.supplementalGroups ?? []).forEach((id: number, index: number) => {
    if (id < 0 || id > 2147483647) {
      const text = 'must be between 0 and 2147483647, inclusive';
      errors.push(invalidValue(`${field}.supplementalGroups[${index}]`, id, text));
    }
  });
  const { supplementalGroupsPolicy: groups, seLinuxChangePolicy: labels } = context;
  if (groups && !groupPolicies.includes(groups))
    errors.push(notSupported(`${field}.supplementalGroupsPolicy`, groups, groupPolicies));
  if (labels && !labelPolicies.includes(labels))
    errors.push(notSupported(`${field}.seLinuxChangePolicy`, labels, labelPolicies));
  return errors;
}

function validateAppArmor(profile: any, field: string): FieldError[] {
  if (!profile) return [];
  const types = ['Localhost', 'RuntimeDefault', 'Unconfined'];
  if (!profile.type) return [required(`${field}.type`, 'type is required when appArmorProfile is set')];
  if (!types.includes(profile.type)) return [notSupported(`${field}.type`, profile.type, types)];
  const name = profile.localhostProfile;
  const at = `${field}.localhostProfile`;
  if (profile.type !== 'Localhost') {
    if (name === undefined || name === null) return [];
    return [invalidValue(at, name, 'can only be set when AppArmor type is Localhost')];
  }
  if (!name?.trim()) return [required(at, 'must be set when AppArmor type is Localhost')];
  if (name.trim() !== name) return [invalidValue(at, name, 'must not be padded with whitespace')];
  return Buffer.byteLength(name) > longestProfile ? [tooLong(at, longestProfile)] : [];
}
