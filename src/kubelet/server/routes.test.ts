import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { createHttpServer, HttpClient } from '../../wire/http/index.ts';
import { resolveSettings } from '../config/settings.ts';
import { debuggingRoutes, disabledRoutes, type Routes } from './routes.ts';
import type { KubeletServerOptions } from './server-options.ts';

/** What routes answer to a request for a path. */
async function ask(routes: Routes, method: string, path: string): Promise<string> {
  const server = createHttpServer({
    handler: async (request, response) => {
      const url = new URL(request.url!, 'http://kubelet');
      const parts = url.pathname.split('/').filter(Boolean);
      const route = routes[parts.slice(0, 2).join('/')] ?? routes[parts[0]!];
      await route?.[request.method!]?.({ request, response, url, parts });
      if (!response.headersSent) response.writeHead(404).end();
    },
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const client = new HttpClient({ baseUrl: `http://127.0.0.1:${port}` });
  try {
    const { status, body } = await client.request({ method, path });
    return `${status} ${body}`;
  } finally {
    client.close();
    await server.close();
  }
}

test('handlers that the configuration turns off say so', async () => {
  const configuration = {
    enableSystemLogHandler: false,
    enableProfilingHandler: false,
    enableDebugFlagsHandler: false,
  };
  const settings = resolveSettings({ nodeName: 'n', configuration });
  const routes = debuggingRoutes({ settings, clock: new FakeClock() } as unknown as KubeletServerOptions, 'v1.36.2');
  assert.equal(await ask(routes, 'GET', '/logs/x'), '405 logs endpoint is disabled.\n');
  assert.equal(await ask(routes, 'GET', '/debug/pprof/heap'), '405 profiling endpoint is disabled.\n');
  assert.equal(await ask(routes, 'PUT', '/debug/flags/v'), '405 flags endpoint is disabled.\n');
  for (const path of ['/run/a/b/c', '/exec/a/b/c', '/attach/a/b/c', '/portForward/a/b', '/containerLogs/a/b/c'])
    assert.equal(await ask(disabledRoutes(), 'POST', path), '405 Debug endpoints are disabled.\n', path);
  assert.match(await ask(disabledRoutes(), 'GET', '/configz'), /^404/);
});
