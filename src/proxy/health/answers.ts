import type { ServerResponse } from '../../wire/http/index.ts';

/** The path of a request, without what is asked behind it. */
export function pathOf(url: string | undefined): string {
  return (url ?? '/').replace(/[?#].*$/s, '');
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response
    .writeHead(status, { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' })
    .end(JSON.stringify(body));
}

/** Answers with text. */
export function sendText(response: ServerResponse, text: string, status = 200): void {
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' };
  response.writeHead(status, headers).end(text);
}
