import type { Container, HTTPGetAction } from '../../api/index.ts';
import { HttpClient, HttpError } from '../../wire/http/index.ts';
import { bracket, hookHeaders, resolvePort } from '../pods/hooks.ts';
import type { FairTimeout } from './fair-timeout.ts';
import { mostOutput, networkText, ProbeFailure, type ProbeOutcome } from './probe-outcome.ts';

const mostRedirects = 10;
/** Statuses that lead elsewhere when they say where. */
const redirecting = new Set([301, 302, 303, 307, 308]);

/**
 * 200 to 299 is well. Redirects are followed on the same host; one to another host, and any other 3xx, is well with a
 * warning. @throws ProbeFailure when there is no answer in time
 */
export async function httpProbe(
  get: HTTPGetAction,
  target: { container: Pick<Container, 'name' | 'ports'>; podIp: string },
  limit: FairTimeout,
): Promise<ProbeOutcome> {
  const port = resolvePort(target.container, get.port);
  const host = get.host || target.podIp;
  const path = get.path?.startsWith('/') ? get.path : `/${get.path ?? ''}`;
  let url = new URL(`${(get.scheme || 'HTTP').toLowerCase()}://${bracket(host)}:${port}${path}`);
  const headers = { connection: 'close', ...hookHeaders(get.httpHeaders, 'kube-probe/1.36') };
  for (let redirects = 0; ; redirects++) {
    const { status, location, body } = await request(url, headers, limit);
    const next =
      redirecting.has(status) && location && URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    if (next?.hostname === url.hostname) {
      if (redirects + 1 >= mostRedirects)
        return { kind: 'failure', output: `Get "${next.href}": stopped after ${mostRedirects} redirects` };
      url = next;
    } else if (status >= 300 && status < 400)
      return { kind: 'success', warning: `Probe terminated redirects, Response body: ${body}` };
    else if (status >= 200 && status < 400) return { kind: 'success' };
    else return { kind: 'failure', output: `HTTP probe failed with statuscode: ${status}` };
  }
}

async function request(
  url: URL,
  headers: Record<string, string | string[]>,
  limit: FairTimeout,
): Promise<{ status: number; location?: string; body: string }> {
  const http = new HttpClient({ baseUrl: url.origin, insecureSkipTlsVerify: true, keepAlive: false });
  try {
    const message = await http.stream({ path: `${url.pathname}${url.search}`, headers, signal: limit.signal });
    const { location } = message.headers;
    const body = await readSome(message);
    return { status: message.statusCode!, body, ...(location ? { location } : {}) };
  } catch (error) {
    if (limit.isOver)
      throw new ProbeFailure(
        `Get "${url.href}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
      );
    const cause = error as NodeJS.ErrnoException;
    const dial = `dial tcp ${url.hostname}:${url.port || (url.protocol === 'https:' ? 443 : 80)}`;
    const text = error instanceof HttpError || cause.code ? networkText(cause, dial) : cause.message;
    throw new ProbeFailure(`Get "${url.href}": ${text}`);
  } finally {
    http.close();
  }
}

/** The first of a body; the rest is not waited for. */
async function readSome(message: AsyncIterable<unknown> & { destroy(): unknown }): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of message) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size >= mostOutput) break;
    }
  } finally {
    message.destroy();
  }
  return Buffer.concat(chunks).subarray(0, mostOutput).toString('utf8');
}
