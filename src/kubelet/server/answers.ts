import type { IncomingMessage, ServerResponse } from '../../wire/http/index.ts';
import { metricsContentType } from '../metrics/text-format.ts';

/** A request, taken apart. */
export interface Asked {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  /** The parts of the path, decoded. */
  parts: string[];
}

/** Answers a request. @throws ServerError for an answer other than success */
export type Handler = (asked: Asked) => Promise<void> | void;

/** Sends JSON. */
export function sendJson({ response }: Asked, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/** Sends text. */
export function sendText({ response }: Asked, text: string, status = 200): void {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' })
    .end(text);
}

/** Sends metrics. */
export function sendMetrics({ response }: Asked, text: string): void {
  response.writeHead(200, { 'content-type': metricsContentType }).end(text);
}

/** The body of a request as text, up to a size. */
export async function readBody({ request }: Asked, mostBytes = 1024 * 1024): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > mostBytes) break;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}
