import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { KubeletSettings } from '../config/settings.ts';
import type { Asked } from './answers.ts';
import { readLogQuery, sendLogQuery } from './log-query.ts';
import { ServerError } from './server-error.ts';

const root = '/var/log';

/** `/logs/…`: files of the host's /var/log and, when it is configured, `?query=`: what services have logged. */
export async function serveHostLogs(asked: Asked, { configuration }: KubeletSettings): Promise<void> {
  const { url, response, request } = asked;
  if (!configuration.enableSystemLogHandler) throw new ServerError(405, 'logs endpoint is disabled.');
  if (configuration['enableSystemLogQuery'] === true && url.searchParams.has('query'))
    return sendLogQuery(asked, readLogQuery(url.searchParams));
  const path = normalize(join(root, ...asked.parts.slice(1)));
  const info = await stat(path).catch(() => undefined);
  // Links may lead anywhere on the host, as upstream's do: whoever may read nodes/log may read it.
  if (!info || !isBelow(path)) throw new ServerError(404, '404 page not found');
  if (!info.isDirectory()) {
    if (!info.isFile()) throw new ServerError(403, `${path} is no file`);
    response.writeHead(200, {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': info.size,
      'last-modified': info.mtime.toUTCString(),
    });
    if (request.method === 'HEAD' || info.size === 0) return void response.end();
    // A log that grows meanwhile is cut at what was promised.
    return pipeline(createReadStream(await realpath(path), { end: info.size - 1 }), response);
  }
  if (!url.pathname.endsWith('/')) {
    const last = encodeURIComponent(asked.parts.at(-1) ?? 'logs');
    return void response.writeHead(301, { location: `${last}/` }).end();
  }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(await listing(path));
}

const isBelow = (path: string): boolean => path === root || path === `${root}/` || path.startsWith(`${root}/`);

async function listing(path: string): Promise<string> {
  const names = (await readdir(path, { withFileTypes: true }))
    .map((entry) => `${entry.name}${entry.isDirectory() ? '/' : ''}`)
    .sort();
  const quote = (text: string) =>
    text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&#34;');
  const link = (name: string) => encodeURIComponent(name).replaceAll('%2F', '/');
  return `<!doctype html>\n<pre>\n${names.map((name) => `<a href="${link(name)}">${quote(name)}</a>`).join('\n')}\n</pre>\n`;
}
