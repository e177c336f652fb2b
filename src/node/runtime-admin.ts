import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArchiveFormat, EndpointReport, Pruned, Runtime, StoreFinding } from '../runtime/index.ts';
import { createHttpServer, HttpClient, type HttpServer } from '../wire/http/index.ts';

/** An image that was imported. */
export interface ImportedImage {
  id: string;
  names: string[];
}

/** All that is known of an image. */
export interface InspectedImage {
  id: string;
  repoTags: string[];
  repoDigests: string[];
  /** As the registry has it, bytes. */
  packedBytes: number;
  pinned: boolean;
  /** What each layer takes on disk, the lowest first. */
  layers: { diffId: string; bytes: number; inodes: number }[];
  configuration: object;
}

type Action = (query: URLSearchParams, runtime: Runtime, reload: () => Promise<object>) => Promise<unknown>;

/** What the CRI has no call for. */
const actions: Record<string, Action> = {
  'POST /images/import': async (query, runtime) => {
    const name = query.get('name');
    const added = await runtime.images().importArchive(needed(query, 'path'), name ? { name } : {});
    return added.map(({ id, repoTags, repoDigests }) => ({ id, names: [...repoTags, ...repoDigests] }));
  },
  'POST /images/export': async (query, runtime) => {
    const format = query.get('format') === 'docker' ? 'docker' : 'oci';
    await runtime.images().exportArchive(needed(query, 'path'), query.getAll('reference'), format);
    return {};
  },
  'GET /images/inspect': async (query, runtime) => {
    const images = runtime.images();
    const reference = needed(query, 'reference');
    const image = images.status(reference);
    if (!image) throw new Error(`there is no image ${reference} on the node`);
    const { id, repoTags, repoDigests, size, pinned, configuration } = image;
    return { id, repoTags, repoDigests, packedBytes: size, pinned, layers: images.layerUsage(id), configuration };
  },
  'POST /images/prune': (query, runtime) => runtime.pruneImages({ all: query.get('all') === 'true' }),
  'GET /images/check': (query, runtime) => runtime.checkImages({ deep: query.get('deep') === 'true' }),
  'GET /images/registries': (query, runtime) => runtime.images().explain(needed(query, 'reference')),
  'POST /reload': (_query, _runtime, reload) => reload(),
};

function needed(query: URLSearchParams, name: string): string {
  const value = query.get(name);
  if (!value) throw new Error(`the request has no ${name}`);
  return value;
}

/** The administration socket beside a runtime's root. */
export function adminSocket(root: string): string {
  return join(root, 'admin.sock');
}

/** Serves what the CRI has no call for, over HTTP on a unix socket that only root may open. */
export async function serveRuntimeAdmin(
  socketPath: string,
  runtime: Runtime,
  reload: () => Promise<object>,
): Promise<HttpServer> {
  await rm(socketPath, { force: true });
  const server = createHttpServer({
    handler: async (request, response) => {
      const url = new URL(request.url ?? '/', 'http://runtime');
      const action = actions[`${request.method} ${url.pathname}`];
      if (!action) return void response.writeHead(404).end();
      try {
        const answer = JSON.stringify(await action(url.searchParams, runtime, reload));
        response.writeHead(200, { 'content-type': 'application/json' }).end(answer);
      } catch (error) {
        response.writeHead(422, { 'content-type': 'text/plain' }).end((error as Error).message);
      }
    },
  });
  await server.listen({ socketPath });
  return server;
}

/** Asks a running runtime. @throws Error saying what is wrong, or that no runtime answers */
async function ask<T>(socketPath: string, action: keyof typeof actions, query: [string, string][]): Promise<T> {
  const [method = '', path = ''] = action.split(' ');
  const client = new HttpClient({ socketPath });
  try {
    const { status, body } = await client.request({ method, path: `${path}?${new URLSearchParams(query)}` });
    if (status !== 200) throw new Error(body.toString() || `the runtime answered ${status}`);
    return JSON.parse(body.toString()) as T;
  } catch (error) {
    if (!['ENOENT', 'ECONNREFUSED'].includes((error as { code?: string }).code ?? '')) throw error;
    throw new Error(`no runtime answers at ${socketPath}: is it running, and with this root?`, { cause: error });
  } finally {
    client.close();
  }
}

/** Reads images from an archive into the runtime. */
export function importImages(socket: string, archive: string, name: string | undefined): Promise<ImportedImage[]> {
  return ask(socket, 'POST /images/import', [['path', archive], ...(name ? [['name', name] as [string, string]] : [])]);
}

/** Writes images to a file. */
export async function exportImages(
  socket: string,
  references: readonly string[],
  options: { path: string; format: ArchiveFormat },
): Promise<void> {
  await ask(socket, 'POST /images/export', [
    ['path', options.path],
    ['format', options.format],
    ...references.map((one): [string, string] => ['reference', one]),
  ]);
}

/** All that is known of an image. */
export function inspectImage(socket: string, reference: string): Promise<InspectedImage> {
  return ask(socket, 'GET /images/inspect', [['reference', reference]]);
}

/** Removes what nobody uses. */
export function pruneImages(socket: string, all: boolean): Promise<Pruned> {
  return ask(socket, 'POST /images/prune', [['all', String(all)]]);
}

/** Looks for what does not belong there or is damaged. */
export function checkImages(socket: string, deep: boolean): Promise<StoreFinding[]> {
  return ask(socket, 'GET /images/check', [['deep', String(deep)]]);
}

/** Which servers are asked for an image, and what they answer. */
export function explainRegistries(socket: string, reference: string): Promise<EndpointReport[]> {
  return ask(socket, 'GET /images/registries', [['reference', reference]]);
}
