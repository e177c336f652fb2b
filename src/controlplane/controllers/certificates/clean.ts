import { X509Certificate } from 'node:crypto';
import { type CertificateSigningRequest, resources } from '../../../api/index.ts';
import { type Controller, type ControllerContext, timeMs } from '../framework/controller.ts';
import { hasCondition } from './requests.ts';

/** How long requests are kept, milliseconds: without a decision, and after one. */
const undecidedMs = 24 * 3_600_000;
const decidedMs = 3_600_000;
const lookMs = 3_600_000;

/** Whether a request has served its time. */
export function isOver(request: CertificateSigningRequest, now: number): boolean {
  const lastChange = Math.max(
    timeMs(request.metadata.creationTimestamp),
    ...(request.status?.conditions ?? []).map(({ lastUpdateTime }) => timeMs(lastUpdateTime)),
  );
  const age = now - lastChange;
  const decided = (['Approved', 'Denied', 'Failed'] as const).some((type) => hasCondition(request, type));
  if (request.status?.certificate && isExpired(request.status.certificate, now)) return true;
  if (!decided) return age > undecidedMs;
  const waitsForSigner =
    hasCondition(request, 'Approved') && !hasCondition(request, 'Failed') && !request.status?.certificate;
  return age > (waitsForSigner ? undecidedMs : decidedMs);
}

function isExpired(certificate: string, now: number): boolean {
  try {
    return Date.parse(new X509Certificate(Buffer.from(certificate, 'base64')).validTo) < now;
  } catch {
    return false;
  }
}

/** Removes signing requests that have served their time. */
export function startRequestCleaner({ informers, clock, log }: ControllerContext): Controller {
  const requests = informers.store<CertificateSigningRequest>(resources.certificatesigningrequests);
  const end = new AbortController();
  const work = async (): Promise<void> => {
    await requests.informer.synced;
    while (!end.signal.aborted) {
      for (const request of requests.list().filter((one) => isOver(one, clock.now()))) {
        const failed = (error: unknown) =>
          log.warn('cannot remove a signing request', { request: request.metadata.name, error });
        await requests.delete(request).catch(failed);
      }
      await clock.sleep(lookMs, end.signal).catch(() => {});
    }
  };
  void work();
  return { stop: async () => end.abort(new Error('stopped')) };
}
