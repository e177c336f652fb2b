import type { IncomingMessage } from '../../wire/http/index.ts';
import type { ContainerView, PodDirectory } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { ServerError } from './server-error.ts';

/** Finds out where the runtime streams what a request asks for: exec, attach or port-forward. */
export async function streamingUrl(
  parts: string[],
  url: URL,
  request: IncomingMessage,
  pods: PodDirectory,
  client: RuntimeClient,
): Promise<string> {
  const [verb, namespace = '', podName = ''] = parts;
  const pod = pods.pod(namespace, podName);
  if (!pod) throw new ServerError(404, `pod ${JSON.stringify(`${podName}_${namespace}`)} not found`);
  const { uid } = pod.metadata;
  if (verb === 'portForward') {
    const podSandboxId = pods.sandbox(uid);
    if (!podSandboxId) throw new ServerError(400, `pod ${podName} is not running`);
    const ports = [...url.searchParams.getAll('port'), ...url.searchParams.getAll('ports')]
      .flatMap((text) => text.split(','))
      .map(Number);
    return (await client.runtime.portForward({ podSandboxId, port: ports.filter((port) => port > 0) })).url;
  }
  // /exec/{namespace}/{pod}/{container} or, of old, /exec/{namespace}/{pod}/{uid}/{container}
  const container = runningContainer(pods, uid, parts.at(-1) ?? '', podName);
  const streams = readStreams(url.searchParams, request);
  if (verb === 'attach')
    return (
      await client.runtime.attach({
        containerId: container.id,
        ...streams,
        tty: container.tty,
        stdin: streams.stdin && container.stdin,
        stderr: streams.stderr && !container.tty,
      })
    ).url;
  const cmd = url.searchParams.getAll('command');
  if (cmd.length === 0) throw new ServerError(400, 'you must specify at least 1 command for exec');
  return (await client.runtime.exec({ containerId: container.id, cmd, ...streams })).url;
}

/** A container that can be entered. @throws ServerError */
export function runningContainer(pods: PodDirectory, podUid: string, name: string, podName: string): ContainerView {
  const container = pods.container(podUid, name);
  if (!container) throw new ServerError(404, `container not found (${JSON.stringify(name)})`);
  if (container.state !== 'running')
    throw new ServerError(
      400,
      `container ${JSON.stringify(name)} in pod ${podName} is not running: its state is ${container.state}`,
    );
  return container;
}

/** Which streams are wanted; API servers say input, output and error, other clients stdin, stdout and stderr. */
function readStreams(
  query: URLSearchParams,
  _request: IncomingMessage,
): { stdin: boolean; stdout: boolean; stderr: boolean; tty: boolean } {
  const flag = (...names: string[]) => names.some((name) => ['1', 'true'].includes(query.get(name) ?? ''));
  const tty = flag('tty');
  const streams = {
    stdin: flag('input', 'stdin'),
    stdout: flag('output', 'stdout'),
    stderr: flag('error', 'stderr') && !tty,
    tty,
  };
  if (!streams.stdin && !streams.stdout && !streams.stderr)
    throw new ServerError(400, 'you must specify at least 1 of stdin, stdout, stderr');
  return streams;
}
