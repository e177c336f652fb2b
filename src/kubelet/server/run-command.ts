import type { PodDirectory } from '../pods/ports.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { type Asked, sendText } from './answers.ts';
import { ServerError } from './server-error.ts';
import { runningContainer } from './streaming.ts';

/** How long a command may take, seconds. */
const mostSeconds = 120;

/** `POST /run/{namespace}/{pod}[/{uid}]/{container}?cmd=…`: runs a command to its end; the command's words are apart by blanks. */
export async function runCommand(asked: Asked, pods: PodDirectory, { runtime }: RuntimeClient): Promise<void> {
  const { parts, url } = asked;
  const [, namespace = '', podName = ''] = parts;
  const pod = pods.pod(namespace, podName);
  if (!pod || (parts.length > 4 && pod.metadata.uid !== parts[3])) throw new ServerError(404, 'pod does not exist');
  const container = runningContainer(pods, pod.metadata.uid, parts.at(-1) ?? '', podName);
  const cmd = (url.searchParams.get('cmd') ?? '').split(' ').filter(Boolean);
  if (cmd.length === 0) throw new ServerError(400, 'cmd is missing: say which command to run, as in ?cmd=ls%20/');
  const { stdout, stderr, exitCode } = await runtime.execSync(
    { containerId: container.id, cmd, timeout: BigInt(mostSeconds) },
    { timeoutMs: (mostSeconds + 10) * 1000 },
  );
  const output = Buffer.concat([stdout, stderr]).toString();
  if (exitCode !== 0) throw new ServerError(500, `command '${cmd.join(' ')}' exited with ${exitCode}: ${output}`);
  sendText(asked, output);
}
