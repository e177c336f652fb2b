export { ClusterAuthorizer, forbidden, mastersGroup } from './authorizer.ts';
export { escalationCheck } from './escalation.ts';
export { NodeAuthorizer, nodeOf, nodeRules } from './node-authorizer.ts';
export { type PolicyRule, RbacIndex, ruleAllows, serviceAccountUser } from './rbac-index.ts';
