import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { launchProgram } from '../../host/exec/index.ts';
import type { Asked } from './answers.ts';
import { ServerError } from './server-error.ts';

/** What is asked of the logs of the node's services. */
export interface LogQuery {
  services: string[];
  /** A file below /var/log. */
  file?: string;
  sinceTime?: string;
  untilTime?: string;
  tailLines?: number;
  boot?: number;
  pattern?: string;
}

const most = { tailLines: 100_000, services: 4, nameLength: 256 };

/** Reads and checks a query. @throws ServerError 400 that names each parameter that is wrong */
export function readLogQuery(query: URLSearchParams): LogQuery {
  const problems: string[] = [];
  const fail = (name: string, value: string, why: string) =>
    void problems.push(`${name}: Invalid value: ${JSON.stringify(value)}: ${why}`);
  const asked = query.getAll('query');
  const files = asked.filter((one) => /[/\\]/.test(one));
  const services = asked.filter((one) => !/[/\\]/.test(one) && one.trim() !== '');
  if (files.length + services.length === 0) fail('query', asked.join(' '), 'query cannot be empty');
  for (const one of services)
    if (one.length > most.nameLength || !/^[\w@.:-]+$/.test(one))
      fail('query', one, 'a service name has letters, digits and - _ . : @ only, and at most 256 of them');
  if (services.length > most.services) fail('query', asked.join(' '), `must have at most ${most.services} items`);
  if (files.length > 1) fail('query', files.join(' '), 'cannot specify more than one file');
  if (files.length > 0 && services.length > 0) fail('query', asked.join(' '), 'cannot specify a file and service');
  const result: LogQuery = { services, ...readTimes(query, fail), ...readNumbers(query, fail) };
  const pattern = query.get('pattern');
  if (pattern) result.pattern = pattern;
  if (files[0] !== undefined) {
    if (Object.keys(result).length > 1) fail('query', files[0], 'cannot specify file with options');
    result.file = files[0];
  }
  if (problems.length > 0) throw new ServerError(400, problems.join(', '));
  return result;
}

type Fail = (name: string, value: string, why: string) => void;

function readTimes(query: URLSearchParams, fail: Fail): Pick<LogQuery, 'sinceTime' | 'untilTime'> {
  const times: Pick<LogQuery, 'sinceTime' | 'untilTime'> = {};
  for (const name of ['sinceTime', 'untilTime'] as const) {
    const text = query.get(name);
    if (!text) continue;
    if (Number.isNaN(Date.parse(text))) fail(name, text, 'invalid time format');
    else times[name] = text;
  }
  if (times.sinceTime && times.untilTime && Date.parse(times.sinceTime) > Date.parse(times.untilTime))
    fail('untilTime', times.untilTime, 'must be after `sinceTime`');
  return times;
}

function readNumbers(query: URLSearchParams, fail: Fail): Pick<LogQuery, 'tailLines' | 'boot'> {
  const numbers: Pick<LogQuery, 'tailLines' | 'boot'> = {};
  const tail = query.get('tailLines');
  if (tail) {
    numbers.tailLines = Number(tail);
    if (!Number.isInteger(numbers.tailLines) || numbers.tailLines < 0 || numbers.tailLines > most.tailLines)
      fail('tailLines', tail, `must be between 0 and ${most.tailLines}, inclusive`);
  }
  const boot = query.get('boot');
  if (boot) {
    numbers.boot = Number(boot);
    if (!Number.isInteger(numbers.boot) || numbers.boot > 0) fail('boot', boot, 'must be less than 1');
  }
  return numbers;
}

/** The arguments of journalctl for a query. */
export function journalArguments({ services, sinceTime, untilTime, tailLines, boot, pattern }: LogQuery): string[] {
  const time = (text: string) => new Date(text).toISOString().slice(0, 19).replace('T', ' ');
  return [
    ...['--utc', '--no-pager', '--output=short-precise'],
    ...(sinceTime ? [`--since=${time(sinceTime)}`] : []),
    ...(untilTime ? [`--until=${time(untilTime)}`] : []),
    ...(tailLines === undefined ? [] : [`--lines=${tailLines}`]),
    ...(boot === undefined ? [] : ['--boot', String(boot)]),
    ...(pattern ? ['--grep', pattern] : []),
    ...services.map((service) => `--unit=${service}`),
  ];
}

/** Answers a query: a file, what the journal has, or the log file that a service writes by itself. */
export async function sendLogQuery(asked: Asked, query: LogQuery): Promise<void> {
  const { response } = asked;
  if (query.file !== undefined) return sendFile(asked, normalize(join('/var/log', query.file)));
  for (const service of query.services) {
    const file = Object.keys(query).length === 1 ? await ownLog(service) : undefined;
    if (file) return sendFile(asked, file);
  }
  const journal = launchProgram(['journalctl', ...journalArguments(query)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    environment: { LC_ALL: 'C', TZ: 'UTC' },
  });
  response.on('close', () => journal.kill('SIGTERM'));
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  const errors: Buffer[] = [];
  journal.stderr?.on('data', (chunk: Buffer) => errors.push(chunk));
  await pipeline(journal.stdout!, response, { end: false }).catch(() => {});
  const { status, error } = await journal.ended;
  if (error) response.write(`cannot run journalctl: ${error.message}\n`);
  else if (status !== 0) response.write(`journalctl ended with ${status}: ${Buffer.concat(errors).toString()}`);
  response.end();
}

/** Where services keep logs of their own: `/var/log/NAME`, `NAME.log`, `NAME/NAME.log`. */
async function ownLog(service: string): Promise<string | undefined> {
  for (const path of [`/var/log/${service}`, `/var/log/${service}.log`, `/var/log/${service}/${service}.log`])
    if ((await stat(path).catch(() => undefined))?.isFile()) return path;
  return undefined;
}

async function sendFile({ response }: Asked, path: string): Promise<void> {
  const info = path.startsWith('/var/log/') ? await stat(path).catch(() => undefined) : undefined;
  if (!info?.isFile()) throw new ServerError(400, `query: Invalid value: ${JSON.stringify(path)}: no such log file`);
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  await pipeline(createReadStream(path), response);
}
