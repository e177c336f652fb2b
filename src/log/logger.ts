/** How much a line matters. `debug` is shown with --v=4 or more. */
export type Level = 'debug' | 'info' | 'warn' | 'error';

/** Values beside a constant message. Errors are written with their message (and stack at debug level). */
export type Fields = Readonly<Record<string, unknown>>;

/** Where lines go. */
export type LogSink = (level: Level, component: string, message: string, fields: Fields) => void;

/** Writes constant messages with fields. Messages are lower case without a full stop. */
export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** A logger that adds the fields to every line. */
  with(fields: Fields): Logger;
}

const order: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Makes a logger for one component; lines below the level, as it is at the time, are dropped. */
export function createLogger(
  component: string,
  sink: LogSink,
  level: Level | (() => Level) = 'info',
  base: Fields = {},
): Logger {
  const least = typeof level === 'function' ? level : () => level;
  const write = (at: Level) => (message: string, fields?: Fields) => {
    if (order[at] >= order[least()]) sink(at, component, message, fields ? { ...base, ...fields } : base);
  };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    with: (fields) => createLogger(component, sink, level, { ...base, ...fields }),
  };
}

/** A sink that writes one line of text: time, level, component, message, key=value. `now` gives milliseconds since 1970. */
export function textSink(write: (line: string) => void, now: () => number): LogSink {
  return (level, component, message, fields) => {
    const time = new Date(now()).toISOString();
    const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${formatValue(value)}`);
    write(`${time} ${level.toUpperCase().padEnd(5)} ${component} ${message}${rest.join('')}\n`);
  };
}

/** A sink that writes one JSON object a line, with the names of fields that Kubernetes' components use: ts, logger, msg, v, err. */
export function jsonSink(write: (line: string) => void, now: () => number): LogSink {
  return (level, component, message, { error, ...fields }) => {
    const err = error === undefined ? {} : { err: error instanceof Error ? describeError(error) : error };
    const plain = Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [
        key,
        value instanceof Error ? describeError(value) : typeof value === 'bigint' ? String(value) : value,
      ]),
    );
    const head = { ts: now(), level, logger: component, msg: message, v: level === 'debug' ? 4 : 0 };
    write(`${JSON.stringify({ ...head, ...plain, ...err })}\n`);
  };
}

function formatValue(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(describeError(value));
  if (typeof value === 'string') return /^[\w./:@=+-]+$/.test(value) ? value : JSON.stringify(value);
  if (typeof value === 'bigint') return String(value);
  return JSON.stringify(value) ?? 'undefined';
}

/** The message of an error with those of its causes. */
function describeError(error: Error): string {
  const cause = error.cause instanceof Error ? `: ${describeError(error.cause)}` : '';
  return `${error.message}${cause}`;
}
