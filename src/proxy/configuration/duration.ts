const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration in Go's form (`1h2m3.5s`); undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const sign = text.startsWith('-') ? -1 : 1;
  const body = text.replace(/^[-+]/, '');
  if (!/^(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(body)) return undefined;
  let ms = 0;
  for (const [, number, unit] of body.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g))
    ms += Number(number) * units[unit!]!;
  return sign * ms;
}

/** Milliseconds of a duration that has been checked; undefined when there is none. */
export function durationMs(value: unknown): number | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  return typeof value === 'number' ? value : parseDuration(String(value));
}

/** A duration as Go programs print it: `15m0s`, `1h0m0s`, `150ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  if (Math.abs(ms) < 1000) return `${ms}ms`;
  const seconds = (ms / 1000) % 60;
  const minutes = Math.trunc(ms / 60_000) % 60;
  const hours = Math.trunc(ms / 3_600_000);
  return `${hours ? `${hours}h` : ''}${hours || minutes ? `${minutes}m` : ''}${seconds}s`;
}
