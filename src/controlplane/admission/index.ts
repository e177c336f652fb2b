import type { ClusterAuthorizer } from '../apiserver/authz/index.ts';
import type { AdmissionPlugin } from '../apiserver/extension-points.ts';
import { certificateSubject } from './certificate-subject.ts';
import { limitRanger } from './limit-ranger.ts';
import { namespaceLifecycle } from './namespace-lifecycle.ts';
import { nodeRestriction } from './node-restriction.ts';
import {
  defaultStorageClass,
  defaultTolerationSeconds,
  priority,
  runtimeClass,
  taintNodesByCondition,
} from './pod-defaults.ts';
import { podResize } from './pod-resize.ts';
import { podSecurity } from './pod-security.ts';
import { resourceQuota } from './resource-quota.ts';
import { serviceAccount } from './service-account.ts';
import { claimResize, storageObjectInUseProtection } from './storage.ts';

export { certificateApproval } from './certificate-approval.ts';

/** What the cluster adds to requests or refuses, in the order in which it is asked; quotas are counted last. */
export function createAdmission(authorizer?: ClusterAuthorizer): AdmissionPlugin[] {
  return [
    namespaceLifecycle,
    nodeRestriction(authorizer),
    certificateSubject,
    taintNodesByCondition,
    podSecurity,
    limitRanger,
    serviceAccount,
    priority,
    defaultTolerationSeconds,
    runtimeClass,
    defaultStorageClass,
    storageObjectInUseProtection,
    claimResize,
    podResize,
    resourceQuota(),
  ];
}
