import type { ApiObject, Resource } from '../../../api/index.ts';
import {
  type ApiClient,
  ApiError,
  readLines,
  resourcePath,
  type SelectOptions,
  type WatchEvent,
} from '../../../client/index.ts';

const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json';
const metadataList = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

/** A client whose lists and watches bring only the objects' metadata. */
export function metadataClient(client: ApiClient): ApiClient {
  const view = Object.create(client) as ApiClient;
  view.list = async <T extends ApiObject>(resource: Resource<T>) => {
    const { body } = await client.request('GET', resourcePath(resource), { headers: { accept: metadataList } });
    return JSON.parse(body.toString());
  };
  view.watch = <T extends ApiObject>(
    resource: Resource<T>,
    options: SelectOptions & { sendInitialEvents?: boolean; timeoutSeconds?: number } = {},
  ) => watchMetadata<T>(client, resource, options);
  return view;
}

async function* watchMetadata<T extends ApiObject>(
  client: ApiClient,
  resource: Resource<T>,
  options: SelectOptions & { sendInitialEvents?: boolean; timeoutSeconds?: number },
): AsyncIterable<WatchEvent<T>> {
  const { resourceVersion, sendInitialEvents, timeoutSeconds, signal } = options;
  const parts = ['watch=1', 'allowWatchBookmarks=true'];
  if (resourceVersion) parts.push(`resourceVersion=${resourceVersion}`);
  if (sendInitialEvents) parts.push('sendInitialEvents=true', 'resourceVersionMatch=NotOlderThan');
  if (timeoutSeconds) parts.push(`timeoutSeconds=${timeoutSeconds}`);
  const path = `${resourcePath(resource)}?${parts.join('&')}`;
  const message = await client.stream('GET', path, {
    headers: { accept: metadataOnly },
    ...(signal ? { signal } : {}),
  });
  try {
    for await (const line of readLines(message)) {
      const event = JSON.parse(line) as WatchEvent<T>;
      if (event.type === 'ERROR') throw new ApiError(event.object as never);
      yield event;
    }
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  } finally {
    message.destroy();
  }
}
