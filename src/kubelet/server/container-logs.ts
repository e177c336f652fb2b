import type { Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { IncomingMessage, ServerResponse } from '../../wire/http/index.ts';
import type { PodDirectory } from '../pods/ports.ts';
import { readLogRequest } from './log-request.ts';
import { readLog } from './read-log.ts';
import { ServerError } from './server-error.ts';

/** `GET /containerLogs/{namespace}/{pod}/{container}` */
export async function serveContainerLogs(
  parts: string[],
  url: URL,
  request: IncomingMessage,
  response: ServerResponse,
  pods: PodDirectory,
  clock: Clock,
): Promise<void> {
  const [, namespace = '', podName = '', containerName = ''] = parts;
  const { previous, ...options } = readLogRequest(url.searchParams, clock.now());
  const pod = pods.pod(namespace, podName);
  if (!pod) throw new ServerError(404, `pod ${JSON.stringify(`${podName}_${namespace}`)} not found`);
  if (!hasContainer(pod, containerName))
    throw new ServerError(404, `container ${containerName} not found in pod ${podName}_${namespace}`);
  const { uid } = pod.metadata;
  const find = () => pods.container(uid, containerName, { previous });
  const container = find();
  if (!container) throw new ServerError(400, missingLogMessage(pod, containerName, previous));
  const stop = new AbortController();
  response.on('close', () => stop.abort());
  response.writeHead(200, { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' });
  response.flushHeaders();
  const hooks = {
    isRunning: () => {
      const now = find();
      return now?.id === container.id && (now.state === 'running' || now.state === 'created');
    },
    onChange: (callback: () => void, signal: AbortSignal) => pods.onContainerChange(uid, callback, signal),
  };
  for await (const text of readLog(container.logPath, options, hooks, stop.signal)) {
    if (!response.write(text))
      await new Promise<void>((resolve) => {
        response.once('drain', resolve);
        stop.signal.addEventListener('abort', () => resolve(), { once: true });
      });
    if (stop.signal.aborted || request.destroyed) return;
  }
  response.end();
}

function hasContainer(pod: Pod, name: string): boolean {
  const { containers, initContainers = [], ephemeralContainers = [] } = pod.spec;
  return [...containers, ...initContainers, ...ephemeralContainers].some((one) => one.name === name);
}

/** Why there is no log, in the words that kubectl's users know. */
function missingLogMessage(pod: Pod, name: string, previous: boolean): string {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  const status = [...containerStatuses, ...initContainerStatuses].find((one) => one.name === name);
  if (previous)
    return `previous terminated container ${JSON.stringify(name)} in pod ${JSON.stringify(pod.metadata.name)} not found`;
  const reason = status?.state?.waiting?.reason;
  if (reason === 'ErrImagePull' || reason === 'ImagePullBackOff')
    return `container ${JSON.stringify(name)} in pod ${JSON.stringify(pod.metadata.name)} is waiting to start: ${status?.state?.waiting?.message ? 'trying and failing to pull image' : "image can't be pulled"}`;
  return `container ${JSON.stringify(name)} in pod ${JSON.stringify(pod.metadata.name)} is waiting to start: ${reason ?? 'ContainerCreating'}`;
}
