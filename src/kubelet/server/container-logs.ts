import type { ContainerStatus, Pod } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import type { PodDirectory } from '../pods/ports.ts';
import type { Asked } from './answers.ts';
import { readLogRequest } from './log-request.ts';
import { readLog } from './read-log.ts';
import { ServerError } from './server-error.ts';

/** `GET /containerLogs/{namespace}/{pod}/{container}` */
export async function serveContainerLogs(asked: Asked, pods: PodDirectory, clock: Clock): Promise<void> {
  const { url, request, response } = asked;
  const [, namespace = '', podName = '', containerName = ''] = asked.parts;
  if (!containerName) throw new ServerError(400, '{"message": "Missing container name."}');
  const { previous, ...options } = readLogRequest(url.searchParams, clock.now());
  const pod = pods.pod(namespace, podName);
  if (!pod) throw new ServerError(404, `pod ${JSON.stringify(podName)} does not exist`);
  if (!hasContainer(pod, containerName))
    throw new ServerError(404, `container "${containerName}" not found in pod "${podName}"`);
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

/** Whether a pod has a container of that name, of any kind. */
export function hasContainer(pod: Pod, name: string): boolean {
  const { containers, initContainers = [], ephemeralContainers = [] } = pod.spec;
  return [...containers, ...initContainers, ...ephemeralContainers].some((one) => one.name === name);
}

/** Why there is no log, in the words that kubectl's users know. */
export function missingLogMessage({ metadata, status }: Pod, name: string, previous: boolean): string {
  const found = findStatus(status, name);
  const [container, pod] = [JSON.stringify(name), JSON.stringify(metadata.name)];
  if (!found) return `container ${container} in pod ${pod} is not available`;
  if (previous) return `previous terminated container ${container} in pod ${pod} not found`;
  const { waiting, terminated } = found.state ?? {};
  if (terminated || (!waiting && found.lastState?.terminated))
    return `container ${container} in pod ${pod} is terminated`;
  const start = `container ${container} in pod ${pod} is waiting to start`;
  switch (waiting?.reason) {
    case undefined:
      return `${start} - no logs yet`;
    case 'ErrImagePull':
      return `${start}: image can't be pulled`;
    case 'ImagePullBackOff':
      return `${start}: trying and failing to pull image`;
    default:
      return `${start}: ${waiting?.reason}`;
  }
}

function findStatus(status: Pod['status'], name: string): ContainerStatus | undefined {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = status ?? {};
  return [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses].find(
    (one) => one.name === name,
  );
}
