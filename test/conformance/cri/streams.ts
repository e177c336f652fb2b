import { HttpClient } from '../../../src/wire/http/index.ts';
import { type ExitStatus, openRemoteCommand, type TerminalSize } from '../../../src/wire/streams/index.ts';
import { SpdySession } from '../../../src/wire/streams/spdy/index.ts';
import { dialSpdy } from '../../../src/wire/streams/stream-client.ts';
import type { Container, Pod } from './cri.ts';

/** What came over the streams of a command. */
export interface StreamedResult {
  stdout: string;
  stderr: string;
  status: ExitStatus;
}

interface StreamOptions {
  input?: string;
  tty?: boolean;
  /** Nothing more is typed, but the stream stays open: a terminal is left when it ends. */
  keepOpen?: boolean;
  size?: TerminalSize;
  /** An address got before. */
  url?: string;
}

/** Runs a command over SPDY, as kubectl and crictl do. */
export async function exec(container: Container, cmd: string[], options: StreamOptions = {}): Promise<StreamedResult> {
  const streams = wanted(options);
  const { runtime } = container.pod.cri;
  const url = options.url ?? (await runtime.exec({ containerId: container.id, cmd, ...streams })).url;
  return talk(url, streams, options);
}

/** Attaches to a container over SPDY. */
export async function attach(container: Container, options: StreamOptions = {}): Promise<StreamedResult> {
  const streams = wanted(options);
  const { url } = await container.pod.cri.runtime.attach({ containerId: container.id, ...streams });
  return talk(url, streams, options);
}

const wanted = ({ input, tty = false }: StreamOptions) => ({
  stdin: input !== undefined,
  stdout: true,
  stderr: !tty,
  tty,
});

async function talk(url: string, streams: ReturnType<typeof wanted>, options: StreamOptions): Promise<StreamedResult> {
  const { origin, pathname, search } = new URL(url);
  const client = new HttpClient({ baseUrl: origin });
  try {
    const remote = await openRemoteCommand({ client, path: `${pathname}${search}` }, streams);
    if (options.size) remote.resize(options.size);
    const output = Promise.all([readAll(remote.stdout), readAll(remote.stderr)]);
    if (options.keepOpen) remote.stdin!.write(options.input);
    else if (options.input !== undefined) remote.stdin!.end(options.input);
    const [stdout, stderr] = await output;
    const status = await remote.status;
    remote.close();
    return { stdout, stderr, status };
  } finally {
    client.close();
  }
}

/** Sends a request to a port of a pod over SPDY, and gives the whole answer. */
export async function forward(pod: Pod, port: number, request: string): Promise<string> {
  const { url } = await pod.cri.runtime.portForward({ podSandboxId: pod.id, port: [port] });
  const { origin, pathname, search } = new URL(url);
  const client = new HttpClient({ baseUrl: origin });
  try {
    const { socket, head } = await dialSpdy({ client, path: `${pathname}${search}` }, ['portforward.k8s.io']);
    const session = new SpdySession(socket, { role: 'client', onClose: () => {} }, head);
    const headers = { port: String(port), requestid: '0' };
    const error = session.open({ ...headers, streamtype: 'error' }, { finished: true });
    const data = session.open({ ...headers, streamtype: 'data' }, { finished: false });
    data.end(request);
    const [answer, failure] = await Promise.all([readAll(data), readAll(error)]);
    session.close();
    if (failure) throw new Error(failure);
    return answer;
  } finally {
    client.close();
  }
}

async function readAll(stream: AsyncIterable<Buffer> | undefined): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
