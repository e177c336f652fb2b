import type { Container, HTTPGetAction, Probe } from '../../api/index.ts';
import { GrpcError } from '../../wire/grpc/index.ts';
import { connectProbe, HttpClient, HttpError } from '../../wire/http/index.ts';
import { describeError } from '../errors.ts';
import { bracket, hookHeaders, resolvePort } from '../pods/hooks.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { checkHealth } from './grpc-health.ts';

/** How one look ended. `error`: the probe could not be made at all, which says nothing about the container. */
export type ProbeOutcome =
  | { kind: 'success'; warning?: string }
  | { kind: 'failure'; output: string }
  | { kind: 'error'; output: string };

/** What a probe is made with. */
export interface ProbeTarget {
  client: RuntimeClient;
  containerId: string;
  container: Pick<Container, 'name' | 'ports'>;
  podIp: string;
  signal?: AbortSignal;
}

/** The most of a body that is kept for messages. */
const mostBody = 10 * 1024;
const mostRedirects = 10;

/** Makes one probe. Never throws. */
export async function runProbe(probe: Probe, target: ProbeTarget): Promise<ProbeOutcome> {
  const timeoutMs = (probe.timeoutSeconds || 1) * 1000;
  try {
    if (probe.exec) return await execProbe(probe.exec.command ?? [], target, timeoutMs);
    if (probe.httpGet) return await httpProbe(probe.httpGet, target, timeoutMs);
    if (probe.tcpSocket) {
      const host = probe.tcpSocket.host || target.podIp;
      const port = resolvePort(target.container, probe.tcpSocket.port);
      await connectProbe(host, port, timeoutMs).catch((error: NodeJS.ErrnoException) => {
        throw new ProbeFailure(networkText(error, `dial tcp ${bracket(host)}:${port}`));
      });
      return { kind: 'success' };
    }
    if (probe.grpc) {
      const problem = await checkHealth(target.podIp, probe.grpc.port, probe.grpc.service ?? '', timeoutMs);
      return problem ? { kind: 'failure', output: problem } : { kind: 'success' };
    }
    return { kind: 'error', output: `missing probe handler for container ${target.container.name}` };
  } catch (error) {
    if (error instanceof ProbeFailure) return { kind: 'failure', output: error.message };
    return { kind: 'error', output: describeError(error) };
  }
}

class ProbeFailure extends Error {}

async function execProbe(cmd: string[], target: ProbeTarget, timeoutMs: number): Promise<ProbeOutcome> {
  const timeout = BigInt(Math.max(1, Math.ceil(timeoutMs / 1000)));
  const late = `command timed out: ${JSON.stringify(cmd.join(' '))} timed out after ${timeoutMs / 1000}s`;
  try {
    const { exitCode, stdout, stderr } = await target.client.runtime.execSync(
      { containerId: target.containerId, cmd, timeout },
      { timeoutMs: timeoutMs + 2000, ...(target.signal ? { signal: target.signal } : {}) },
    );
    if (exitCode === 0) return { kind: 'success' };
    const output = Buffer.concat([stdout, stderr]).subarray(0, mostBody).toString('utf8');
    return { kind: 'failure', output };
  } catch (error) {
    const isLate =
      error instanceof GrpcError && (error.code === 'DEADLINE_EXCEEDED' || /timeout|deadline/i.test(error.message));
    if (isLate) return { kind: 'failure', output: late };
    throw error;
  }
}

/** 200 to 399 is well; redirects are followed on the same host, one to another host is well, with a warning. */
async function httpProbe(get: HTTPGetAction, target: ProbeTarget, timeoutMs: number): Promise<ProbeOutcome> {
  const port = resolvePort(target.container, get.port);
  const host = get.host || target.podIp;
  const path = get.path?.startsWith('/') ? get.path : `/${get.path ?? ''}`;
  let url = new URL(path, `${(get.scheme ?? 'HTTP').toLowerCase()}://${bracket(host)}:${port}`);
  const headers = hookHeaders(get.httpHeaders, 'kube-probe/1.36');
  for (let redirects = 0; ; redirects++) {
    const { status, location, body } = await request(url, headers, timeoutMs, target.signal);
    if (status >= 300 && status < 400 && location) {
      const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
      if (!next || next.hostname !== url.hostname) {
        return { kind: 'success', warning: `Probe terminated redirects, Response body: ${body}` };
      }
      if (redirects >= mostRedirects) return { kind: 'failure', output: `stopped after ${mostRedirects} redirects` };
      url = next;
      continue;
    }
    if (status >= 200 && status < 400) return { kind: 'success' };
    return { kind: 'failure', output: `HTTP probe failed with statuscode: ${status}` };
  }
}

async function request(
  url: URL,
  headers: Record<string, string | string[]>,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<{ status: number; location?: string; body: string }> {
  const http = new HttpClient({ baseUrl: url.origin, insecureSkipTlsVerify: true, keepAlive: false });
  const late = AbortSignal.timeout(timeoutMs);
  const limit = signal ? AbortSignal.any([signal, late]) : late;
  try {
    const message = await http.stream({ path: `${url.pathname}${url.search}`, headers, signal: limit });
    const body = await readSome(message, limit);
    const { location } = message.headers;
    return { status: message.statusCode!, body, ...(location ? { location } : {}) };
  } catch (error) {
    if (late.aborted)
      throw new ProbeFailure(
        `Get "${url.href}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
      );
    if (error instanceof HttpError)
      throw new ProbeFailure(`Get "${url.href}": ${networkText(error, `dial tcp ${url.host}`)}`);
    throw error;
  } finally {
    http.close();
  }
}

async function readSome(
  message: AsyncIterable<unknown> & { destroy(): unknown },
  signal: AbortSignal,
): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of message) {
      signal.throwIfAborted();
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size >= mostBody) break;
    }
  } finally {
    message.destroy();
  }
  return Buffer.concat(chunks).subarray(0, mostBody).toString('utf8');
}

/** What went wrong on the network, in the words that users of probes know. */
function networkText(error: { code?: string; message: string }, dial: string): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return `${dial}: connect: connection refused`;
    case 'EHOSTUNREACH':
      return `${dial}: connect: no route to host`;
    case 'ECONNRESET':
      return 'read: connection reset by peer';
    case 'ETIMEDOUT':
      return `${dial}: i/o timeout`;
    default:
      return error.message;
  }
}
