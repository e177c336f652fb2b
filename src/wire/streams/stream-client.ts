import type { Duplex, Readable, Writable } from 'node:stream';
import type { Clock } from '../../async/index.ts';
import { type HttpClient, HttpError } from '../http/index.ts';
import { type ExitStatus, parseExitStatus } from './exit-status.ts';
import { SpdySession } from './spdy/index.ts';
import type { TerminalSize } from './terminal-sizes.ts';

/** Which server, and where there. */
export interface StreamTarget {
  client: HttpClient;
  /** Path and query, or a whole URL. */
  path: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  clock?: Clock;
}

/** A command that runs at the other end. */
export interface RemoteProcess {
  stdin?: Writable;
  stdout?: Readable;
  stderr?: Readable;
  /** Tells the size of our terminal. */
  resize(size: TerminalSize): void;
  /** How it has ended; a connection that breaks is an error. */
  status: Promise<ExitStatus>;
  close(): void;
}

const protocols = ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'];

/** Asks for SPDY/3.1. @throws HttpError with code EUPGRADE and the body of the refusal */
export async function dialSpdy(
  target: StreamTarget,
  versions: string[],
): Promise<{ socket: Duplex; head: Buffer; version: string }> {
  const answer = await target.client.upgrade({
    method: 'POST',
    path: target.path,
    headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': versions, ...target.headers },
    ...(target.signal ? { signal: target.signal } : {}),
  });
  if ('refused' in answer) {
    const chunks: Buffer[] = [];
    for await (const chunk of answer.refused) chunks.push(chunk as Buffer);
    throw new HttpError(
      'EUPGRADE',
      `unable to upgrade connection: ${Buffer.concat(chunks).toString() || answer.refused.statusCode}`,
    );
  }
  const version = [answer.headers['x-stream-protocol-version'] ?? versions.at(-1)!].flat()[0]!;
  return { socket: answer.socket, head: answer.head, version };
}

/** Runs (or attaches to) a command over SPDY: the client's side of serveRemoteCommand(). @throws HttpError */
export async function openRemoteCommand(
  target: StreamTarget,
  options: { stdin: boolean; stdout: boolean; stderr: boolean; tty: boolean },
): Promise<RemoteProcess> {
  const { socket, head, version } = await dialSpdy(target, protocols);
  const broken = Promise.withResolvers<ExitStatus>();
  const session = new SpdySession(
    socket,
    {
      role: 'client',
      ...(target.clock ? { clock: target.clock } : {}),
      onClose: (error) => broken.resolve({ error: `the connection was closed${error ? `: ${error.message}` : ''}` }),
    },
    head,
  );
  const open = (name: string, wanted: boolean, finished: boolean): Duplex | undefined =>
    wanted ? session.open({ streamtype: name }, { finished }) : undefined;
  const error = open('error', true, true)!;
  const stdin = open('stdin', options.stdin, false);
  const stdout = open('stdout', options.stdout, true);
  const stderr = open('stderr', options.stderr && !options.tty, true);
  const resizes = open('resize', options.tty && /^v[345]/.test(version), false);
  stdin?.resume();
  resizes?.resume();
  return {
    ...(stdin ? { stdin } : {}),
    ...(stdout ? { stdout } : {}),
    ...(stderr ? { stderr } : {}),
    resize: ({ width, height }) => void resizes?.write(`${JSON.stringify({ Width: width, Height: height })}\n`),
    status: readStatus(error, broken.promise, version),
    close: () => session.close(),
  };
}

/** The text of the error stream, when that has ended well; the older versions end it without a word for success. */
async function readStatus(error: Readable, broken: Promise<ExitStatus>, version: string): Promise<ExitStatus> {
  let text = '';
  try {
    for await (const chunk of error) text += String(chunk);
  } catch {
    return broken;
  }
  // v4 always says something: silence means that the server died.
  if (text === '' && /^v[45]\./.test(version)) return broken;
  return parseExitStatus(text);
}
