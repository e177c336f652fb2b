import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type HttpClient, HttpError } from '../http/index.ts';
import { joinStreams } from './join-streams.ts';
import { refuseUpgrade } from './upgrade-response.ts';

/** Where an upgrade is passed on to. */
export interface TunnelTarget {
  client: HttpClient;
  /** Path and query there, or a whole URL. */
  path: string;
  /** Laid over the headers of the request; undefined takes one away. `host` and `authorization` never go along. */
  headers?: Record<string, string | undefined>;
}

/** Headers of the first connection that say nothing to the second server. */
const ownHeaders = new Set(['host', 'authorization', 'content-length', 'transfer-encoding', 'expect', 'cookie']);

/**
 * Passes an upgrade (SPDY, WebSocket or any other) through to another server, unread in both directions; a refusal is
 * passed back with its body. Resolves when both connections are closed; failures to connect are answered with 502.
 */
export async function tunnelUpgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  target: TunnelTarget,
): Promise<void> {
  const abort = new AbortController();
  const onClose = (): void => abort.abort(new Error('the client has gone'));
  socket.once('close', onClose);
  socket.on('error', () => {});
  let answer: Awaited<ReturnType<HttpClient['upgrade']>>;
  try {
    answer = await target.client.upgrade({
      method: request.method ?? 'GET',
      path: target.path,
      headers: { ...forwardedHeaders(request), ...target.headers },
      signal: abort.signal,
    });
  } catch (error) {
    if (!abort.signal.aborted) refuseUpgrade(socket, 502, describe(error));
    return;
  }
  socket.off('close', onClose);
  if ('refused' in answer) return passRefusal(answer.refused, socket);
  const lines = Object.entries(answer.headers).flatMap(([name, value]) =>
    [value ?? []].flat().map((one) => `${name}: ${one}\r\n`),
  );
  socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`);
  if (answer.head.length > 0) socket.write(answer.head);
  if (head.length > 0) answer.socket.write(head);
  await joinStreams(socket, answer.socket);
}

/** The headers of the request as they came, lines of the same name apart (a list of protocols may be one per line). */
function forwardedHeaders(request: IncomingMessage): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i]!.toLowerCase();
    if (ownHeaders.has(name)) continue;
    headers[name] ??= [];
    headers[name].push(request.rawHeaders[i + 1]!);
  }
  return headers;
}

async function passRefusal(answer: IncomingMessage, socket: Duplex): Promise<void> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of answer) chunks.push(chunk as Buffer);
  } catch {
    // What has come of the body is better than nothing.
  }
  refuseUpgrade(
    socket,
    answer.statusCode ?? 502,
    Buffer.concat(chunks),
    answer.headers['content-type'] ?? 'text/plain; charset=utf-8',
  );
}

function describe(error: unknown): string {
  return error instanceof HttpError || error instanceof Error ? error.message : String(error);
}
