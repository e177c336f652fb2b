import type { Container, LifecycleHandler, Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { HttpClient } from '../../wire/http/index.ts';
import type { RuntimeClient } from './runtime-client.ts';

/** What a hook of a container runs with. */
export interface HookContext {
  client: RuntimeClient;
  clock: Clock;
  /** The pod's address, for httpGet without a host. */
  podIp: string;
  signal?: AbortSignal;
  /** Told when a server that was meant by https was reached by http instead: its host and port. */
  onFallback?: (host: string) => void;
}

/**
 * Runs a lifecycle hook to its end. What an HTTP server answers does not matter, only that it does.
 * @param timeoutMs for exec and httpGet, none without; a sleep is ended by the signal only
 * @throws Error with the text for the event when it fails
 */
export async function runHook(
  context: HookContext,
  pod: Pod,
  container: Pick<Container, 'name' | 'ports'>,
  containerId: string,
  hook: LifecycleHandler,
  timeoutMs?: number,
): Promise<void> {
  if (hook.exec) return runExec(context, containerId, hook.exec.command ?? [], timeoutMs);
  if (hook.httpGet) return runHttpGet(context, container, hook.httpGet, timeoutMs);
  if (hook.sleep) return context.clock.sleep(hook.sleep.seconds * 1000, context.signal);
  if (hook.tcpSocket) throw new Error('tcpSocket hooks are not supported');
  throw new Error(`hook of container ${container.name} of pod ${pod.metadata.name} has no action`);
}

async function runExec(
  { client, signal }: HookContext,
  containerId: string,
  cmd: string[],
  timeoutMs: number | undefined,
): Promise<void> {
  const timeout = timeoutMs === undefined ? 0n : BigInt(Math.max(1, Math.ceil(timeoutMs / 1000)));
  const { exitCode, stdout, stderr } = await client.runtime.execSync(
    { containerId, cmd, timeout },
    { ...(timeoutMs === undefined ? {} : { timeoutMs: timeoutMs + 10_000 }), ...(signal ? { signal } : {}) },
  );
  if (exitCode === 0) return;
  const output = Buffer.concat([stdout, stderr]).toString('utf8').slice(0, 1024);
  throw new Error(`command '${cmd.join(' ')}' exited with ${exitCode}: ${output}`);
}

async function runHttpGet(
  context: HookContext,
  container: Pick<Container, 'name' | 'ports'>,
  get: NonNullable<LifecycleHandler['httpGet']>,
  timeoutMs: number | undefined,
): Promise<void> {
  const port = resolvePort(container, get.port);
  const authority = `${bracket(get.host || context.podIp)}:${port}`;
  const request = async (protocol: string, headers: Record<string, string | string[]>): Promise<void> => {
    const http = new HttpClient({
      baseUrl: `${protocol}://${authority}`,
      insecureSkipTlsVerify: true,
      keepAlive: false,
    });
    try {
      const answer = await http.stream({
        path: get.path?.startsWith('/') ? get.path : `/${get.path ?? ''}`,
        headers,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(context.signal ? { signal: context.signal } : {}),
      });
      answer.destroy();
    } finally {
      http.close();
    }
  };
  const headers = hookHeaders(get.httpHeaders, 'kube-lifecycle/deckhand');
  const scheme = (get.scheme ?? 'HTTP').toLowerCase();
  try {
    await request(scheme, headers);
  } catch (error) {
    // A server that was meant by https but speaks http: as hooks worked before https was honoured.
    if (scheme !== 'https' || !speaksPlainHttp(error)) throw error;
    const { authorization: _, ...harmless } = headers;
    await request('http', harmless);
    context.onFallback?.(authority);
  }
}

function speaksPlainHttp(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (/wrong version number|EPROTO|packet length/i.test(`${at.message} ${(at as { code?: string }).code ?? ''}`))
      return true;
  }
  return false;
}

/** Headers of a hook or probe: those that the user gave, and who asks. */
export function hookHeaders(
  given: { name: string; value: string }[] | undefined,
  userAgent: string,
): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const { name, value } of given ?? []) {
    const key = name.toLowerCase();
    const before = headers[key];
    headers[key] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
  }
  headers['user-agent'] ??= userAgent;
  if (headers['user-agent'] === '') delete headers['user-agent'];
  headers['accept'] ??= '*/*';
  if (headers['accept'] === '') delete headers['accept'];
  return headers;
}

/** A port by number or by name among the container's ports. @throws Error when there is no such port */
export function resolvePort(container: Pick<Container, 'name' | 'ports'>, port: number | string): number {
  const text = String(port);
  const number = /^\d+$/.test(text) ? Number(text) : container.ports?.find(({ name }) => name === text)?.containerPort;
  if (number === undefined)
    throw new Error(`couldn't find port: ${JSON.stringify(text)} in container ${container.name}`);
  if (number < 1 || number > 65_535) throw new Error(`invalid port number: ${number}`);
  return number;
}

/** An address as it stands in a URL. */
export function bracket(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}
