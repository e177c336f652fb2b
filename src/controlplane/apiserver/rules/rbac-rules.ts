import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError, ResourceRules } from '../extension-points.ts';
import { invalidValue, notSupported, required } from './field-errors.ts';
import { checkPathSegment } from './names.ts';

const group = 'rbac.authorization.k8s.io';

function validateRules(rules: any[], namespaced: boolean): FieldError[] {
  return rules.flatMap((rule, index) => {
    const at = `rules[${index}]`;
    const errors: FieldError[] = [];
    if (!rule.verbs?.length) errors.push(required(`${at}.verbs`, 'verbs must contain at least one value'));
    if (rule.nonResourceURLs?.length) {
      if (namespaced) {
        const text = 'namespaced rules cannot apply to non-resource URLs';
        errors.push(invalidValue(`${at}.nonResourceURLs`, rule.nonResourceURLs, text));
      }
      if (rule.apiGroups?.length || rule.resources?.length || rule.resourceNames?.length) {
        const text = 'rules cannot apply to both regular resources and non-resource URLs';
        errors.push(invalidValue(`${at}.nonResourceURLs`, rule.nonResourceURLs, text));
      }
      return errors;
    }
    if (!rule.apiGroups?.length)
      errors.push(required(`${at}.apiGroups`, 'resource rules must supply at least one api group'));
    if (!rule.resources?.length)
      errors.push(required(`${at}.resources`, 'resource rules must supply at least one resource'));
    return errors;
  });
}

/** Rules of Roles. */
export const roleRules: ResourceRules = { validate: (role) => validateRules(role.rules ?? [], true) };

/** Rules of ClusterRoles. */
export const clusterRoleRules: ResourceRules = { validate: (role) => validateRules(role.rules ?? [], false) };

const subjectKinds = ['ServiceAccount', 'User', 'Group'];

/** Rules of RoleBindings and ClusterRoleBindings. */
export function bindingRules(namespaced: boolean): ResourceRules {
  return {
    setDefaults: (binding) => {
      if (binding.roleRef) binding.roleRef.apiGroup ||= group;
      for (const subject of binding.subjects ?? []) {
        if (subject.kind === 'User' || subject.kind === 'Group') subject.apiGroup ||= group;
      }
    },
    validate: (binding, old) => {
      const errors: FieldError[] = [];
      const { roleRef = {} } = binding;
      const kinds = namespaced ? ['Role', 'ClusterRole'] : ['ClusterRole'];
      if (roleRef.apiGroup !== group) errors.push(notSupported('roleRef.apiGroup', roleRef.apiGroup ?? '', [group]));
      if (!kinds.includes(roleRef.kind)) errors.push(notSupported('roleRef.kind', roleRef.kind ?? '', kinds));
      if (!roleRef.name) errors.push(required('roleRef.name'));
      else
        errors.push(...checkPathSegment(roleRef.name).map((text) => invalidValue('roleRef.name', roleRef.name, text)));
      (binding.subjects ?? []).forEach((subject: any, index: number) => {
        const at = `subjects[${index}]`;
        if (!subject.name) errors.push(required(`${at}.name`));
        if (!subjectKinds.includes(subject.kind))
          errors.push(notSupported(`${at}.kind`, subject.kind ?? '', subjectKinds));
        if (subject.kind === 'ServiceAccount' && !subject.namespace && !namespaced) {
          errors.push(required(`${at}.namespace`));
        }
      });
      if (old && !deepEqual(roleRef, old.roleRef)) {
        errors.push(invalidValue('roleRef', roleRef, 'cannot change roleRef'));
      }
      return errors;
    },
  };
}
