import type { Clock } from '../../async/index.ts';
import { ProfileTakenError, takeCpuProfile, takeHeapSnapshot } from '../../host/process/index.ts';
import type { Level } from '../../log/index.ts';
import { type Asked, readBody, sendText } from './answers.ts';
import { ServerError } from './server-error.ts';

/** What the debugging endpoints reach. */
export interface DebugOptions {
  clock: Clock;
  /** Changes how much is logged; missing where components share it. */
  setLogLevel?: (level: Level) => void;
}

const mostProfileSeconds = 300;

/**
 * `/debug/pprof/…`: profiles of this process, in Node's formats: `profile?seconds=30` is a CPU profile (.cpuprofile) and
 * `heap` a heap snapshot (.heapsnapshot), both for the developer tools of browsers.
 */
export async function serveProfile(asked: Asked, { clock }: DebugOptions): Promise<void> {
  const name = asked.parts[2] ?? '';
  if (name === 'profile') return sendCpuProfile(asked, clock);
  if (name === 'heap') return sendHeap(asked);
  if (name === 'cmdline') return sendText(asked, process.argv.join('\0'));
  if (name !== '')
    throw new ServerError(404, `there is no profile ${JSON.stringify(name)}: there are profile, heap and cmdline`);
  sendText(
    asked,
    'profile?seconds=30  what the processor does (open the answer as FILE.cpuprofile)\n' +
      'heap                what is in memory (open the answer as FILE.heapsnapshot)\n' +
      'cmdline             how this process was started\n',
  );
}

async function sendCpuProfile(asked: Asked, clock: Clock): Promise<void> {
  const text = asked.url.searchParams.get('seconds') ?? '30';
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= mostProfileSeconds))
    throw new ServerError(400, `seconds: ${text} is not between 0 and ${mostProfileSeconds}`);
  const gone = new AbortController();
  asked.response.on('close', () => gone.abort(new Error('the client has gone')));
  const profile = await takeCpuProfile(seconds * 1000, clock, gone.signal).catch((error: unknown) => {
    throw error instanceof ProfileTakenError ? new ServerError(503, error.message) : error;
  });
  const headers = {
    'content-type': 'application/json',
    'content-disposition': 'attachment; filename="profile.cpuprofile"',
  };
  asked.response.writeHead(200, headers).end(JSON.stringify(profile));
}

async function sendHeap({ response }: Asked): Promise<void> {
  const { pipeline } = await import('node:stream/promises');
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-disposition': 'attachment; filename="heap.heapsnapshot"',
  });
  await pipeline(await takeHeapSnapshot(), response);
}

/** `PUT /debug/flags/v`: how much is logged, as a number; 4 and more shows debug lines. */
export async function setVerbosity(asked: Asked, { setLogLevel }: DebugOptions): Promise<void> {
  if (asked.request.method !== 'PUT') throw new ServerError(405, 'use PUT');
  const text = (await readBody(asked, 1024)).trim();
  if (!/^\d+$/.test(text)) throw new ServerError(400, `${JSON.stringify(text)} is not a log level: use a whole number`);
  if (!setLogLevel)
    throw new ServerError(
      501,
      'the kubelet shares its log with other components here: place it in a process of its own (--place kubelet=process)',
    );
  setLogLevel(Number(text) >= 4 ? 'debug' : 'info');
  sendText(asked, `successfully set klog.logging.verbosity to ${text}`);
}
