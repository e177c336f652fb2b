import { createHttpServer } from '../../wire/http/index.ts';
import { type DemoImage, digestOf } from './image.ts';

/** A registry on loopback that holds the demo's images and counts how often each blob was fetched. */
export interface DemoRegistry {
  /** `127.0.0.1:PORT`, the first part of an image reference. */
  host: string;
  add(repository: string, tag: string, image: DemoImage): void;
  /** Fetches of layers and configurations so far. */
  blobFetches(): number;
  close(): Promise<void>;
}

/** Serves the pull half of the OCI distribution protocol. */
export async function startDemoRegistry(): Promise<DemoRegistry> {
  const manifests = new Map<string, Buffer>();
  const blobs = new Map<string, Buffer>();
  let fetches = 0;
  const server = createHttpServer({
    handler: (request, response) => {
      const path = new URL(request.url ?? '/', 'http://registry').pathname;
      const match = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(path);
      const body = match?.[2] === 'manifests' ? manifests.get(`${match[1]}:${match[3]}`) : blobs.get(match?.[3] ?? '');
      if (path === '/v2/') return void response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      if (!match || !body) {
        const errors = [{ code: match?.[2] === 'manifests' ? 'MANIFEST_UNKNOWN' : 'BLOB_UNKNOWN', message: 'unknown' }];
        return void response.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify({ errors }));
      }
      const manifest = match[2] === 'manifests';
      if (!manifest && request.method === 'GET') fetches++;
      response.writeHead(200, {
        'content-type': manifest ? 'application/vnd.oci.image.manifest.v1+json' : 'application/octet-stream',
        'content-length': body.length,
        'docker-content-digest': digestOf(body),
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    },
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  return {
    host: `127.0.0.1:${port}`,
    add: (repository, tag, image) => {
      manifests.set(`${repository}:${tag}`, image.manifest);
      manifests.set(`${repository}:${digestOf(image.manifest)}`, image.manifest);
      for (const [digest, bytes] of image.blobs) blobs.set(digest, bytes);
    },
    blobFetches: () => fetches,
    close: () => server.close(),
  };
}
