import type { Clock } from '../../async/index.ts';
import { ProfileTakenError, takeCpuProfile, takeHeapSnapshot } from '../../host/process/index.ts';
import type { Level } from '../../log/index.ts';
import type { IncomingMessage, ServerResponse } from '../../wire/http/index.ts';
import { sendText } from './answers.ts';

const mostSeconds = 300;
const mostBytes = 1024;

/**
 * `/debug/pprof/…`: profiles of this process, in Node's formats: `profile?seconds=30` is a CPU profile (.cpuprofile) and
 * `heap` a heap snapshot (.heapsnapshot), both for the developer tools of browsers.
 */
export async function sendProfile(request: IncomingMessage, response: ServerResponse, clock: Clock): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://proxy');
  const name = url.pathname.slice('/debug/pprof/'.length);
  if (name === 'cmdline') return sendText(response, process.argv.join('\0'));
  if (name === 'profile') return sendCpuProfile(url.searchParams.get('seconds') ?? '30', response, clock);
  if (name === 'heap') {
    const { pipeline } = await import('node:stream/promises');
    response.writeHead(200, attachment('heap.heapsnapshot'));
    return pipeline(await takeHeapSnapshot(), response);
  }
  if (name !== '') return sendText(response, `there is no profile ${JSON.stringify(name)}\n`, 404);
  sendText(
    response,
    'profile?seconds=30  what the processor does (open the answer as FILE.cpuprofile)\n' +
      'heap                what is in memory (open the answer as FILE.heapsnapshot)\n' +
      'cmdline             how this process was started\n',
  );
}

async function sendCpuProfile(text: string, response: ServerResponse, clock: Clock): Promise<void> {
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= mostSeconds))
    return sendText(response, `seconds: ${text} is not between 0 and ${mostSeconds}\n`, 400);
  const gone = new AbortController();
  response.on('close', () => gone.abort(new Error('the client has gone')));
  try {
    const profile = await takeCpuProfile(seconds * 1000, clock, gone.signal);
    response.writeHead(200, attachment('profile.cpuprofile')).end(JSON.stringify(profile));
  } catch (error) {
    if (!(error instanceof ProfileTakenError)) throw error;
    sendText(response, `${error.message}\n`, 503);
  }
}

function attachment(name: string): Record<string, string> {
  return { 'content-type': 'application/json', 'content-disposition': `attachment; filename="${name}"` };
}

/** `PUT /debug/flags/v`: how much is logged, as a number; 4 and more shows debug lines. */
export async function setVerbosity(
  request: IncomingMessage,
  response: ServerResponse,
  setLogLevel: ((level: Level) => void) | undefined,
): Promise<void> {
  if (request.method !== 'PUT') return sendText(response, 'use PUT\n', 405);
  let text = '';
  for await (const chunk of request) if (text.length < mostBytes) text += String(chunk);
  text = text.trim();
  if (!/^\d+$/.test(text))
    return sendText(response, `${JSON.stringify(text)} is not a log level: use a whole number\n`, 400);
  if (!setLogLevel)
    return sendText(
      response,
      'the proxy shares its log with other components here: place it in a process of its own\n',
      501,
    );
  setLogLevel(Number(text) >= 4 ? 'debug' : 'info');
  sendText(response, `successfully set klog.logging.verbosity to ${text}`);
}
