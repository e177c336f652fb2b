import { type CertificateSigningRequest, resources, type SubjectAccessReview } from '../../../api/index.ts';
import {
  apiTime,
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import { hasCondition, kubeletClientProblem, readRequest, signers } from './requests.ts';

/** What a request may be approved as: who may ask for it has the right to create this. */
interface Recognition {
  subresource: 'selfnodeclient' | 'nodeclient';
  message: string;
}

/**
 * Approves what nodes ask for by themselves: their first client certificate (with a bootstrap token, say) and a new one for
 * themselves. Everything else is for people, or for other controllers, to approve.
 */
export function startApprovingController(context: ControllerContext): Controller {
  const requests = context.informers.store<CertificateSigningRequest>(resources.certificatesigningrequests);
  const queue = createControllerQueue(context, {
    name: 'csrapproving',
    stores: [requests],
    handle: async (name) => {
      const request = requests.get(name);
      if (
        !request ||
        request.status?.certificate ||
        hasCondition(request, 'Approved') ||
        hasCondition(request, 'Denied')
      )
        return;
      for (const { subresource, message } of await recognise(request)) {
        if (!(await mayCreate(context, request, subresource))) continue;
        const now = apiTime(context.clock.now());
        const approved = { type: 'Approved', status: 'True', reason: 'AutoApproved', message, lastUpdateTime: now };
        const conditions = [...(request.status?.conditions ?? []), approved];
        await requests.update({ ...request, status: { ...request.status, conditions } } as CertificateSigningRequest, {
          subresource: 'approval',
        });
        return;
      }
    },
  });
  const end = requests.subscribe((key, now) => now && queue.add(key));
  return controllerOfParts([queue], [end]);
}

async function recognise(request: CertificateSigningRequest): Promise<Recognition[]> {
  if (request.spec.signerName !== signers.kubeletClient) return [];
  const read = await readRequest(request);
  if (kubeletClientProblem(read, request.spec.usages ?? [])) return [];
  const self: Recognition = {
    subresource: 'selfnodeclient',
    message: 'Auto approving self kubelet client certificate after SubjectAccessReview.',
  };
  const any: Recognition = {
    subresource: 'nodeclient',
    message: 'Auto approving kubelet client certificate after SubjectAccessReview.',
  };
  return read.commonName === request.spec.username ? [self, any] : [any];
}

/** Whether whoever asked has the right, as the API server sees it. */
async function mayCreate(
  { client }: ControllerContext,
  { spec }: CertificateSigningRequest,
  subresource: string,
): Promise<boolean> {
  const { username, uid, groups, extra } = spec;
  const body = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: username,
      groups,
      ...(uid ? { uid } : {}),
      ...(extra ? { extra } : {}),
      resourceAttributes: {
        group: 'certificates.k8s.io',
        resource: 'certificatesigningrequests',
        verb: 'create',
        subresource,
        version: '*',
      },
    },
  };
  const response = await client.request('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', { body });
  return (JSON.parse(response.body.toString()) as SubjectAccessReview).status?.allowed ?? false;
}
