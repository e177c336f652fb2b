import type { IncomingMessage, ServerResponse } from '../../wire/http/index.ts';
import { proxyVersion } from '../version.ts';
import { sendJson, sendText } from './answers.ts';

const component = 'kube-proxy';
const warning =
  'Warning: This endpoint is for people who look for a fault; its format is not meant to be read by programs.';

/** `/statusz`: since when what runs, and which paths it has. */
export function sendStatusz(
  request: IncomingMessage,
  response: ServerResponse,
  { now, paths }: { now: number; paths: readonly string[] },
): void {
  const facts = {
    startTime: new Date(performance.timeOrigin).toISOString(),
    uptimeSeconds: Math.round((now - performance.timeOrigin) / 1000),
    goVersion: `node ${process.version}`,
    binaryVersion: proxyVersion.slice(1),
    paths: [...paths].sort(),
  };
  if (asksFor(request, 'Statusz'))
    return sendJson(response, 200, {
      kind: 'Statusz',
      apiVersion: 'config.k8s.io/v1alpha1',
      metadata: { name: component },
      ...facts,
    });
  const { startTime, uptimeSeconds, goVersion, binaryVersion } = facts;
  const two = (value: number) => String(value).padStart(2, '0');
  const up = `${Math.floor(uptimeSeconds / 3600)} hr ${two(Math.floor(uptimeSeconds / 60) % 60)} min ${two(uptimeSeconds % 60)} sec`;
  const lines = [
    `Started: ${startTime}`,
    `Up: ${up}`,
    `Runs on: ${goVersion}`,
    `Binary version: ${binaryVersion}`,
    '',
    `Paths: ${facts.paths.join(' ')}`,
  ];
  sendText(response, `\n${component} statusz\n${warning}\n\n${lines.join('\n')}\n`);
}

/** `/flagz`: the flags that were given. */
export function sendFlagz(
  request: IncomingMessage,
  response: ServerResponse,
  flags: Readonly<Record<string, string>>,
): void {
  if (asksFor(request, 'Flagz'))
    return sendJson(response, 200, {
      kind: 'Flagz',
      apiVersion: 'config.k8s.io/v1alpha1',
      metadata: { name: component },
      flags,
    });
  const lines = Object.entries(flags).map(([name, value]) => `${name}=${value}`);
  sendText(response, `\n${component} flagz\n${warning}\n\n${lines.join('\n')}\n`);
}

function asksFor(request: IncomingMessage, kind: string): boolean {
  return request.headers.accept?.includes(`as=${kind}`) ?? false;
}
