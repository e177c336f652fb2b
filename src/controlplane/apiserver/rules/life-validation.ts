import type { FieldError } from '../extension-points.ts';
import { forbiddenField, invalidValue, notSupported, required } from './field-errors.ts';

const policies = ['Always', 'Never', 'OnFailure'];
const actions = ['Restart', 'RestartAllContainers'];
const operators = ['In', 'NotIn'];
const most = { rules: 20, values: 255 };

/** Validates a container's own restart policy and the rules that go before it. */
export function validateRestart(container: any, field: string): FieldError[] {
  const { restartPolicy, restartPolicyRules: rules = [] } = container;
  const errors: FieldError[] = [];
  if (restartPolicy && !policies.includes(restartPolicy))
    errors.push(notSupported(`${field}.restartPolicy`, restartPolicy, policies));
  if (rules.length === 0) return errors;
  const at = `${field}.restartPolicyRules`;
  if (!restartPolicy)
    errors.push(required(`${field}.restartPolicy`, 'must specify restartPolicy when restart rules are used'));
  if (rules.length > most.rules) errors.push(invalidValue(at, rules.length, `must have at most ${most.rules} items`));
  for (const [index, rule] of rules.entries()) errors.push(...validateRule(rule, `${at}[${index}]`));
  return errors;
}

function validateRule({ action, exitCodes }: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!actions.includes(action)) errors.push(notSupported(`${field}.action`, action, actions));
  if (!exitCodes) return [...errors, required(`${field}.exitCodes`, 'must be specified')];
  if (!operators.includes(exitCodes.operator))
    errors.push(notSupported(`${field}.exitCodes.operator`, exitCodes.operator, operators));
  const count = exitCodes.values?.length ?? 0;
  if (count > most.values)
    errors.push(invalidValue(`${field}.exitCodes.values`, count, `must have at most ${most.values} items`));
  return errors;
}

/** Validates a reference to a variable in a file of a volume. */
export function validateFileKey(reference: any, field: string, volumes: ReadonlyMap<string, any>): FieldError[] {
  const errors: FieldError[] = [];
  for (const key of ['key', 'path', 'volumeName']) if (!reference[key]) errors.push(required(`${field}.${key}`));
  const { path, volumeName } = reference;
  if (path && (path.startsWith('/') || path.split('/').includes('..')))
    errors.push(invalidValue(`${field}.path`, path, "must be a relative path without '..'"));
  const volume = volumes.get(volumeName);
  if (volumeName && !volume) errors.push(invalidValue(`${field}.volumeName`, volumeName, 'is no volume of the pod'));
  else if (volume && !volume.emptyDir)
    errors.push(invalidValue(`${field}.volumeName`, volumeName, 'must be an emptyDir volume'));
  return errors;
}

/** Validates the name that a pod has instead of its own. */
export function validateHostnameOverride(spec: any, field: string): FieldError[] {
  const name = spec.hostnameOverride;
  if (name === undefined || name === null) return [];
  const at = `${field}.hostnameOverride`;
  const isName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name);
  if (!isName || name.length > 64)
    return [invalidValue(at, name, 'must be a lower-case name of at most 64 letters, digits, "-" and "."')];
  if (spec.hostNetwork) return [forbiddenField(at, 'may not be set in the network of the host')];
  if (spec.setHostnameAsFQDN) return [forbiddenField(at, 'may not be set together with setHostnameAsFQDN')];
  return [];
}
