import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import { describeError } from '../errors.ts';
import type { PodDirectory } from '../pods/ports.ts';
import { isUnimplemented, type RuntimeClient } from '../pods/runtime-client.ts';
import { type Asked, sendJson } from './answers.ts';
import { hasContainer } from './container-logs.ts';
import { ServerError } from './server-error.ts';
import { runningContainer } from './streaming.ts';

/** `POST /checkpoint/{namespace}/{pod}/{container}?timeout=…`: writes a container's state to a file below the root directory. */
export async function checkpoint(
  asked: Asked,
  {
    pods,
    runtime,
    rootDirectory,
    clock,
  }: { pods: PodDirectory; runtime: RuntimeClient; rootDirectory: string; clock: Clock },
): Promise<void> {
  const [, namespace = '', podName = '', containerName = ''] = asked.parts;
  const pod = pods.pod(namespace, podName);
  if (!pod) throw new ServerError(404, 'pod does not exist');
  if (!hasContainer(pod, containerName)) throw new ServerError(404, `container ${containerName} does not exist`);
  const text = asked.url.searchParams.getAll('timeout').at(-1);
  const timeout = text === undefined ? 0 : Number(text);
  if (!Number.isSafeInteger(timeout) || timeout < 0)
    throw new ServerError(404, `cannot parse value of timeout parameter: ${text}`);
  const directory = join(rootDirectory, 'checkpoints');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const stamp = new Date(clock.now()).toISOString();
  const location = join(directory, `checkpoint-${podName}_${namespace}-${containerName}-${stamp}.tar`);
  try {
    const { id } = runningContainer(pods, pod.metadata.uid, containerName, podName);
    const limit = timeout > 0 ? { timeoutMs: timeout * 1000 + 5000 } : {};
    await runtime.runtime.checkpointContainer({ containerId: id, location, timeout: BigInt(timeout) }, limit);
  } catch (error) {
    const reason = isUnimplemented(error)
      ? `the container runtime has no checkpoints: ${describeError(error)}`
      : describeError(error);
    throw new ServerError(500, `checkpointing of ${namespace}/${podName}/${containerName} failed (${reason})`);
  }
  sendJson(asked, { items: [location] });
}
