import { type CertificateSigningRequest, resources } from '../../../api/index.ts';
import { type CertificateAuthority, type SigningRequest, signRequest } from '../../../wire/certificates/index.ts';
import {
  apiTime,
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import { hasCondition, readRequest, signerProblem, signers, splitUsages } from './requests.ts';

/** With what certificates are signed. */
export interface SigningOptions {
  authority: CertificateAuthority;
  /** Longest life of a certificate, milliseconds. Default a year. */
  durationMs?: number;
}

const yearMs = 365 * 86_400_000;
const shortestMs = 600_000;
const dayMs = 86_400_000;
const ours: readonly string[] = Object.values(signers);

/** Signs approved requests of Kubernetes' own signers; what a signer does not sign becomes Failed, with the reason. */
export function startSigningController(context: ControllerContext, options: SigningOptions): Controller {
  const requests = context.informers.store<CertificateSigningRequest>(resources.certificatesigningrequests);
  const write = (request: CertificateSigningRequest, status: object) =>
    requests.update({ ...request, status: { ...request.status, ...status } } as CertificateSigningRequest, {
      subresource: 'status',
    });
  const queue = createControllerQueue(context, {
    name: 'csrsigning',
    stores: [requests],
    handle: async (name) => {
      const request = requests.get(name);
      if (!request || request.status?.certificate || !ours.includes(request.spec.signerName)) return;
      if (!hasCondition(request, 'Approved') || hasCondition(request, 'Denied') || hasCondition(request, 'Failed'))
        return;
      const read = await readRequest(request);
      const message = signerProblem(request.spec.signerName, read, request.spec.usages ?? []);
      if (message !== undefined) {
        const reason = 'SignerValidationFailure';
        const failed = {
          type: 'Failed',
          status: 'True',
          reason,
          message,
          lastUpdateTime: apiTime(context.clock.now()),
        };
        await write(request, { conditions: [...(request.status?.conditions ?? []), failed] });
        return;
      }
      const certificate = await sign(request, read, options, context.clock.now());
      await write(request, { certificate: Buffer.from(certificate).toString('base64') });
    },
  });
  const end = requests.subscribe((key, now) => now && queue.add(key));
  return controllerOfParts([queue], [end]);
}

function sign(
  { spec }: CertificateSigningRequest,
  read: SigningRequest,
  { authority, durationMs = yearMs }: SigningOptions,
  now: number,
): Promise<string> {
  const asked = spec.expirationSeconds === undefined ? durationMs : spec.expirationSeconds * 1000;
  const lifeMs = Math.min(durationMs, Math.max(asked, shortestMs));
  const { keyUsages, usages } = splitUsages(spec.usages ?? []);
  return signRequest(authority, read, usages, now, { days: lifeMs / dayMs, keyUsages });
}
