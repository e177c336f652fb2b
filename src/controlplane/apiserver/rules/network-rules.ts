/** Rules of endpoints, ingresses, network policies, autoscalers, budgets and certificates. */
import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError, ResourceRules } from '../extension-points.ts';
import { forbiddenField, immutableText, invalidValue, notSupported, required } from './field-errors.ts';
import { validateLabelSelector } from './metadata-validation.ts';
import { checkIpAddress, checkPortNumber } from './names.ts';

/** Rules of Endpoints. */
export const endpointsRules: ResourceRules = {
  setDefaults: ({ subsets }) => {
    for (const subset of subsets ?? []) for (const port of subset.ports ?? []) port.protocol ||= 'TCP';
  },
  validate: ({ subsets }) =>
    (subsets ?? []).flatMap((subset: any, index: number) => [
      ...[...(subset.addresses ?? []), ...(subset.notReadyAddresses ?? [])].flatMap((address: any) =>
        checkIpAddress(address.ip ?? '').map((text) =>
          invalidValue(`subsets[${index}].addresses[0].ip`, address.ip ?? '', text),
        ),
      ),
      ...(subset.ports ?? []).flatMap((port: any, at: number) =>
        checkPortNumber(port.port).map((text) =>
          invalidValue(`subsets[${index}].ports[${at}].port`, port.port ?? 0, text),
        ),
      ),
    ]),
};

const addressTypes = ['FQDN', 'IPv4', 'IPv6'];

/** Rules of EndpointSlices. */
export const endpointSliceRules: ResourceRules = {
  hasGeneration: true,
  setDefaults: ({ ports }) => {
    for (const port of ports ?? []) {
      port.name ??= '';
      port.protocol ||= 'TCP';
    }
  },
  validate: (slice, old) => {
    const errors: FieldError[] = [];
    if (!addressTypes.includes(slice.addressType)) {
      errors.push(
        slice.addressType ? notSupported('addressType', slice.addressType, addressTypes) : required('addressType'),
      );
    }
    if (old && slice.addressType !== old.addressType) {
      errors.push(invalidValue('addressType', slice.addressType, immutableText));
    }
    (slice.endpoints ?? []).forEach((endpoint: any, index: number) => {
      const at = `endpoints[${index}].addresses`;
      if (!endpoint.addresses?.length) errors.push(required(at, 'must contain at least 1 address'));
      if (slice.addressType === 'FQDN') return;
      (endpoint.addresses ?? []).forEach((address: string, one: number) => {
        errors.push(...checkIpAddress(address).map((text) => invalidValue(`${at}[${one}]`, address, text)));
      });
    });
    return errors;
  },
};

const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix'];

/** Rules of Ingresses. */
export const ingressRules: ResourceRules = {
  hasGeneration: true,
  prepareForCreate: (ingress) => {
    ingress.status = { loadBalancer: {} };
  },
  validate: ({ spec = {} }) => {
    const errors: FieldError[] = [];
    if (!spec.rules?.length && !spec.defaultBackend) {
      errors.push(invalidValue('spec', spec, 'either `defaultBackend` or `rules` must be specified'));
    }
    (spec.rules ?? []).forEach((rule: any, index: number) => {
      if (rule.http && !rule.http.paths?.length) errors.push(required(`spec.rules[${index}].http.paths`));
      (rule.http?.paths ?? []).forEach((path: any, one: number) => {
        const at = `spec.rules[${index}].http.paths[${one}]`;
        if (!path.pathType) errors.push(required(`${at}.pathType`, 'pathType must be specified'));
        else if (!pathTypes.includes(path.pathType)) {
          errors.push(notSupported(`${at}.pathType`, path.pathType, pathTypes));
        } else if (path.pathType !== 'ImplementationSpecific' && !path.path?.startsWith('/')) {
          errors.push(invalidValue(`${at}.path`, path.path ?? '', 'must be an absolute path'));
        }
        if (!path.backend?.service && !path.backend?.resource) errors.push(required(`${at}.backend`));
      });
    });
    return errors;
  },
};

/** Rules of NetworkPolicies. */
export const networkPolicyRules: ResourceRules = {
  hasGeneration: true,
  setDefaults: ({ spec = {} }) => {
    if (!spec.policyTypes?.length) spec.policyTypes = spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress'];
    for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
      for (const port of rule.ports ?? []) port.protocol ||= 'TCP';
    }
  },
  validate: ({ spec = {} }) => validateLabelSelector(spec.podSelector ?? {}, 'spec.podSelector'),
};

/** Rules of HorizontalPodAutoscalers. */
export const autoscalerRules: ResourceRules = {
  hasGeneration: false,
  setDefaults: ({ spec = {} }) => {
    spec.minReplicas ??= 1;
    if (!spec.metrics?.length) {
      const target = { type: 'Utilization', averageUtilization: 80 };
      spec.metrics = [{ type: 'Resource', resource: { name: 'cpu', target } }];
    }
  },
  validate: ({ spec = {} }) => {
    const errors: FieldError[] = [];
    if (!(spec.maxReplicas > 0)) {
      errors.push(invalidValue('spec.maxReplicas', spec.maxReplicas ?? 0, 'must be greater than 0'));
    } else if (spec.maxReplicas < spec.minReplicas) {
      const text = 'must be greater than or equal to `minReplicas`';
      errors.push(invalidValue('spec.maxReplicas', spec.maxReplicas, text));
    }
    if (!spec.scaleTargetRef?.name) errors.push(required('spec.scaleTargetRef.name'));
    if (!spec.scaleTargetRef?.kind) errors.push(required('spec.scaleTargetRef.kind'));
    return errors;
  },
};

/** Rules of PodDisruptionBudgets. */
export const disruptionBudgetRules: ResourceRules = {
  hasGeneration: true,
  prepareForCreate: (budget) => {
    budget.status = { currentHealthy: 0, desiredHealthy: 0, disruptionsAllowed: 0, expectedPods: 0 };
  },
  validate: ({ spec = {} }) => {
    const errors: FieldError[] = [];
    if (spec.minAvailable !== undefined && spec.maxUnavailable !== undefined) {
      errors.push(invalidValue('spec', spec, 'minAvailable and maxUnavailable cannot be both set'));
    }
    if (spec.selector) errors.push(...validateLabelSelector(spec.selector, 'spec.selector'));
    return errors;
  },
};

function isSigningRequest(base64: string): boolean {
  return /-----BEGIN CERTIFICATE REQUEST-----[\s\S]+-----END CERTIFICATE REQUEST-----/.test(
    Buffer.from(base64, 'base64').toString(),
  );
}

/** Rules of CertificateSigningRequests: who asks is written down by the server. */
export const signingRequestRules: ResourceRules = {
  hasGeneration: false,
  prepareForCreate: (request, { user }) => {
    request.spec = {
      ...request.spec,
      username: user.username,
      ...(user.uid ? { uid: user.uid } : {}),
      groups: user.groups,
      ...(user.extra ? { extra: user.extra } : {}),
    };
    request.status = {};
  },
  prepareForUpdate: (request, old, { subresource, now }) => {
    request.spec = old.spec;
    if (subresource === '') return;
    for (const condition of request.status?.conditions ?? []) {
      condition.lastUpdateTime ??= toTime(now);
      condition.lastTransitionTime ??= toTime(now);
    }
  },
  validate: ({ spec = {}, status = {} }, old) => {
    const errors: FieldError[] = [];
    if (!spec.request) errors.push(required('spec.request'));
    if (!spec.signerName) errors.push(required('spec.signerName'));
    else if (!spec.signerName.includes('/')) {
      const text = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
      errors.push(invalidValue('spec.signerName', spec.signerName, text));
    }
    if (!spec.usages?.length) errors.push(required('spec.usages'));
    if (spec.expirationSeconds !== undefined && spec.expirationSeconds < 600) {
      const text = 'may not specify a duration less than 600 seconds (10 minutes)';
      errors.push(invalidValue('spec.expirationSeconds', spec.expirationSeconds, text));
    }
    if (!old && spec.request && !isSigningRequest(spec.request))
      errors.push(invalidValue('spec.request', spec.request, 'PEM block type must be CERTIFICATE REQUEST'));
    const types = new Set((status.conditions ?? []).map(({ type }: any) => type));
    if (types.has('Approved') && types.has('Denied')) {
      errors.push(invalidValue('status.conditions', 'Denied', 'Approved and Denied conditions are mutually exclusive'));
    }
    const kept = (old?.status?.conditions ?? []).filter(({ type }: any) => type === 'Approved' || type === 'Denied');
    for (const { type } of kept) {
      if (!types.has(type))
        errors.push(forbiddenField('status.conditions', `updates may not remove a condition of type "${type}"`));
    }
    if (old?.status?.certificate && !deepEqual(old.status.certificate, status.certificate)) {
      errors.push(forbiddenField('status.certificate', 'updates may not set certificate content once it is set'));
    }
    return errors;
  },
  selectableFields: ({ spec = {} }) => ({ 'spec.signerName': spec.signerName ?? '' }),
};

const toTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
