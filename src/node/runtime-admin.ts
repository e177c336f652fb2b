import { rm } from 'node:fs/promises';
import type { ImageStore } from '../runtime/index.ts';
import { createHttpServer, HttpClient, type HttpServer, type ServerResponse } from '../wire/http/index.ts';

/** An image that was imported. */
export interface ImportedImage {
  id: string;
  names: string[];
}

/**
 * Serves what the CRI has no call for, over HTTP on a unix socket that only root may open:
 * `POST /images/import?path=…[&name=…]` reads images from an OCI layout or a docker-archive;
 * `POST /reload` reads the configuration again and tells what changed.
 */
export async function serveRuntimeAdmin(
  socketPath: string,
  images: () => ImageStore,
  reload: () => Promise<object>,
): Promise<HttpServer> {
  await rm(socketPath, { force: true });
  const server = createHttpServer({
    handler: async (request, response) => {
      const url = new URL(request.url ?? '/', 'http://runtime');
      const path = url.searchParams.get('path');
      if (request.method === 'POST' && url.pathname === '/reload') return answerReload(response, reload);
      if (request.method !== 'POST' || url.pathname !== '/images/import' || !path)
        return void response.writeHead(404).end();
      const name = url.searchParams.get('name');
      try {
        const added = await images().importArchive(path, name ? { name } : {});
        const imported: ImportedImage[] = added.map(({ id, repoTags, repoDigests }) => ({
          id,
          names: [...repoTags, ...repoDigests],
        }));
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(imported));
      } catch (error) {
        response.writeHead(422, { 'content-type': 'text/plain' }).end((error as Error).message);
      }
    },
  });
  await server.listen({ socketPath });
  return server;
}

async function answerReload(response: ServerResponse, reload: () => Promise<object>): Promise<void> {
  try {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(await reload()));
  } catch (error) {
    response.writeHead(422, { 'content-type': 'text/plain' }).end((error as Error).message);
  }
}

/** Asks a running runtime to import an archive. @throws Error saying what is wrong with it, or that no runtime answers */
export async function importImages(
  socketPath: string,
  archive: string,
  name: string | undefined,
): Promise<ImportedImage[]> {
  const client = new HttpClient({ socketPath });
  const query = new URLSearchParams({ path: archive, ...(name ? { name } : {}) });
  try {
    const { status, body } = await client.request({ method: 'POST', path: `/images/import?${query}` });
    if (status !== 200) throw new Error(body.toString() || `the runtime answered ${status}`);
    return JSON.parse(body.toString()) as ImportedImage[];
  } finally {
    client.close();
  }
}
