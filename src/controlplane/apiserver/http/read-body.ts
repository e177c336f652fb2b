import type { IncomingMessage } from '../../../wire/http/index.ts';
import { StatusError } from '../status-error.ts';

/** Longest body that is read. */
export const bodyLimit = 3 * 1024 * 1024;

function tooLarge(): StatusError {
  return new StatusError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${bodyLimit}`);
}

/** Reads a request's body. @throws StatusError 413 when it is too long, 400 when it breaks off */
export function readBody(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > bodyLimit) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > bodyLimit) {
        request.removeAllListeners('data');
        request.resume();
        reject(tooLarge());
      } else chunks.push(chunk);
    });
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    request.on('error', () => reject(new StatusError(400, 'BadRequest', 'the request body broke off')));
    request.on('close', () => {
      if (!request.complete) reject(new StatusError(400, 'BadRequest', 'the request body broke off'));
    });
  });
}

/** The media type of a Content-Type header, without its parameters. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
}
