import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { generateKey, readCertificate } from '../../wire/certificates/index.ts';
import type { CertificateStore, StoredCertificate } from './certificate-store.ts';
import { type CertificateSubject, type CertificateWish, requestCertificate } from './request-certificate.ts';

/** What a manager of one certificate is given. */
export interface CertificateManagerOptions {
  store: CertificateStore;
  signerName: CertificateWish['signerName'];
  usages: string[];
  /** Whom the certificate has to name now; undefined while that is not known. */
  subject(): CertificateSubject | undefined;
  /** With whom to ask. */
  client: ApiClient;
  /** A new certificate is there and kept. */
  onNew(pair: StoredCertificate): void;
  log: Logger;
  clock: Clock;
  /** Between 0 and 1, for the moment of renewal. Default: random. */
  random?: () => number;
}

/** A subject that changes is noticed after this long, milliseconds. */
const lookMs = 10_000;
const firstRetryMs = 2_000;
const longestRetryMs = 5 * 60_000;

/** When a certificate is to be renewed: between 70 and 90 percent of its life. Milliseconds since 1970. */
export function renewalTime({ notBefore, notAfter }: { notBefore: number; notAfter: number }, random: number): number {
  return notBefore + (notAfter - notBefore) * (0.7 + 0.2 * random);
}

/** Keeps one certificate good: asks for it when there is none, and for a new one before its end or when its names change. */
export class CertificateManager {
  readonly #options: CertificateManagerOptions;
  #current: StoredCertificate | undefined;

  constructor(options: CertificateManagerOptions) {
    this.#options = options;
  }

  current(): StoredCertificate | undefined {
    return this.#current;
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, clock, log, random = Math.random } = this.#options;
    const known = await store.read();
    if (known && known.notAfter > clock.now()) this.#take(known);
    let jitter = random();
    let retryMs = firstRetryMs;
    while (!signal.aborted) {
      const due = this.#current ? renewalTime(this.#current, jitter) - clock.now() : 0;
      const subject = this.#options.subject();
      if (!subject || (due > 0 && this.#names(subject))) {
        await clock.sleep(Math.min(lookMs, Math.max(due, 100), subject ? lookMs : 200), signal).catch(() => {});
        continue;
      }
      try {
        await this.#renew(subject, signal);
        jitter = random();
        retryMs = firstRetryMs;
      } catch (error) {
        if (signal.aborted) return;
        log.warn('no new certificate', { name: store.name, error });
        await clock.sleep(retryMs, signal).catch(() => {});
        retryMs = Math.min(retryMs * 2, longestRetryMs);
      }
    }
  }

  async #renew(subject: CertificateSubject, signal: AbortSignal): Promise<void> {
    const { client, signerName, usages, store, clock, log } = this.#options;
    const key = await generateKey();
    const cert = await requestCertificate(client, { subject, signerName, usages, key }, { clock, log, signal });
    const { notBefore, notAfter } = readCertificate(cert);
    await store.write({ cert, key }, clock.now());
    log.info('has a new certificate', { name: store.name, until: new Date(notAfter).toISOString() });
    this.#take({ cert, key, notBefore, notAfter });
  }

  #take(pair: StoredCertificate): void {
    this.#current = pair;
    this.#options.onNew(pair);
  }

  /** Whether the current certificate names the subject, with all its names. */
  #names(subject: CertificateSubject): boolean {
    if (!this.#current) return false;
    const has = readCertificate(this.#current.cert);
    const within = (wanted: readonly string[] = [], there: readonly string[]) =>
      wanted.every((one) => there.includes(one));
    return (
      has.commonName === subject.commonName &&
      within(subject.organizations, has.organizations) &&
      within(subject.dnsNames, has.dnsNames) &&
      within(subject.ipAddresses?.map(canonical), has.ipAddresses.map(canonical))
    );
  }
}

/** IPv6 addresses have many spellings. */
function canonical(address: string): string {
  return address.includes(':') ? new URL(`http://[${address}]`).hostname : address;
}
