import type { LogOptions } from './log-options.ts';
import { ServerError } from './server-error.ts';

/** Reads the query of a log request. @throws ServerError 400 naming the parameter */
export function readLogRequest(query: URLSearchParams, nowMs: number): LogOptions & { previous: boolean } {
  const flag = (name: string): boolean => {
    const text = query.get(name);
    if (text === null || text === 'false' || text === '0') return false;
    if (text === '' || text === 'true' || text === '1') return true;
    throw new ServerError(400, `invalid value ${JSON.stringify(text)} of ${name}: must be true or false`);
  };
  const count = (name: string, least: number): number | undefined => {
    const text = query.get(name);
    if (text === null) return undefined;
    const value = Number(text);
    if (!Number.isInteger(value) || value < least)
      throw new ServerError(
        400,
        `invalid value ${JSON.stringify(text)} of ${name}: must be an integer of at least ${least}`,
      );
    return value;
  };
  const sinceSeconds = count('sinceSeconds', 1);
  const sinceTime = query.get('sinceTime');
  if (sinceSeconds !== undefined && sinceTime !== null)
    throw new ServerError(400, 'at most one of sinceTime or sinceSeconds may be specified');
  const sinceMs =
    sinceTime === null ? (sinceSeconds === undefined ? undefined : nowMs - sinceSeconds * 1000) : Date.parse(sinceTime);
  if (sinceMs !== undefined && Number.isNaN(sinceMs))
    throw new ServerError(400, `invalid value ${JSON.stringify(sinceTime)} of sinceTime: must be an RFC 3339 time`);
  // The old name, of which `all` is no limit.
  const tail = query.get('tail');
  if (tail !== null && tail !== '' && tail !== 'all') query.set('tailLines', tail);
  const tailLines = count('tailLines', 0);
  const limitBytes = count('limitBytes', 1);
  const stream = query.get('stream') || 'All';
  if (!['All', 'Stdout', 'Stderr'].includes(stream))
    throw new ServerError(400, `invalid stream type ${JSON.stringify(stream)}: must be All, Stdout or Stderr`);
  if (tailLines !== undefined && stream !== 'All')
    throw new ServerError(422, 'tailLines and specific stream are mutually exclusive for now');
  return {
    follow: flag('follow'),
    previous: flag('previous'),
    timestamps: flag('timestamps'),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(stream === 'Stdout' ? { stream: 'stdout' as const } : stream === 'Stderr' ? { stream: 'stderr' as const } : {}),
  };
}
