/** When something is due, in cron's five fields: minute, hour, day of month, month, day of week. */
export interface Schedule {
  minutes: ReadonlySet<number>;
  hours: ReadonlySet<number>;
  days: ReadonlySet<number>;
  months: ReadonlySet<number>;
  weekdays: ReadonlySet<number>;
  /** If both days and weekdays are restricted, either is enough. */
  anyDay: boolean;
  anyWeekday: boolean;
}

const shorthands: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};
const monthNames = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const weekdayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** Parses a schedule. @throws RangeError saying what is wrong */
export function parseSchedule(text: string): Schedule {
  const fields = (shorthands[text.trim()] ?? text).trim().split(/\s+/);
  if (fields.length !== 5) throw new RangeError(`expected exactly 5 fields, found ${fields.length}: [${text}]`);
  const [minute, hour, day, month, weekday] = fields as [string, string, string, string, string];
  const weekdays = parseField(weekday, 0, 7, weekdayNames, 0);
  return {
    minutes: parseField(minute, 0, 59),
    hours: parseField(hour, 0, 23),
    days: parseField(day, 1, 31),
    months: parseField(month, 1, 12, monthNames, 1),
    weekdays: new Set([...weekdays].map((one) => one % 7)),
    anyDay: /^[*?]/.test(day),
    anyWeekday: /^[*?]/.test(weekday),
  };
}

function parseField(text: string, least: number, most: number, names: readonly string[] = [], base = 0): Set<number> {
  const number = (part: string): number => {
    const named = names.indexOf(part.toLowerCase());
    const value = named >= 0 ? named + base : /^\d+$/.test(part) ? Number(part) : Number.NaN;
    if (!(value >= least && value <= most)) throw new RangeError(`${part} is not between ${least} and ${most}`);
    return value;
  };
  const values = new Set<number>();
  for (const item of text.split(',')) {
    const [range = '', stepText] = item.split('/');
    const step = stepText === undefined ? 1 : Number(stepText);
    if (!Number.isInteger(step) || step < 1) throw new RangeError(`${item} has no valid step`);
    const [from = '', to] = range.split('-');
    const every = range === '*' || range === '?';
    const first = every ? least : number(from);
    const last = every
      ? Math.min(most, names === weekdayNames ? 6 : most)
      : to !== undefined
        ? number(to)
        : stepText !== undefined
          ? most
          : first;
    if (last < first) throw new RangeError(`${item} ends before it begins`);
    for (let value = first; value <= last; value += step) values.add(value);
  }
  return values;
}

type LocalTime = { month: number; day: number; weekday: number; hour: number; minute: number };

/** Local time in a zone; UTC without one. @throws RangeError for an unknown zone */
function localTime(timeZone: string | undefined): (ms: number) => LocalTime {
  if (!timeZone || timeZone === 'UTC' || timeZone === 'Etc/UTC') {
    return (ms) => {
      const date = new Date(ms);
      return {
        month: date.getUTCMonth() + 1,
        day: date.getUTCDate(),
        weekday: date.getUTCDay(),
        hour: date.getUTCHours(),
        minute: date.getUTCMinutes(),
      };
    };
  }
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    month: 'numeric',
    day: 'numeric',
    weekday: 'short',
    hour: 'numeric',
    minute: 'numeric',
    hourCycle: 'h23',
  });
  return (ms) => {
    const parts = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const weekday = weekdayNames.indexOf(parts['weekday']!.toLowerCase());
    return {
      month: Number(parts['month']),
      day: Number(parts['day']),
      weekday,
      hour: Number(parts['hour']),
      minute: Number(parts['minute']),
    };
  };
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** A schedule that is not due within this time never is (30 February). */
const horizonMs = 5 * 366 * 24 * hourMs;

/** The first time after `afterMs` at which the schedule is due, milliseconds since 1970; undefined when there is none. */
export function nextDue(schedule: Schedule, afterMs: number, timeZone?: string): number | undefined {
  const local = localTime(timeZone);
  let at = Math.floor(afterMs / minuteMs) * minuteMs + minuteMs;
  const end = afterMs + horizonMs;
  while (at < end) {
    const time = local(at);
    if (!dayMatches(schedule, time) || !schedule.hours.has(time.hour)) at += (60 - time.minute) * minuteMs;
    else if (schedule.minutes.has(time.minute)) return at;
    else at += minuteMs;
  }
  return undefined;
}

function dayMatches(schedule: Schedule, { month, day, weekday }: LocalTime): boolean {
  if (!schedule.months.has(month)) return false;
  const byDay = schedule.days.has(day);
  const byWeekday = schedule.weekdays.has(weekday);
  return schedule.anyDay || schedule.anyWeekday ? byDay && byWeekday : byDay || byWeekday;
}

/** The last time in (afterMs, untilMs] at which the schedule was due, and whether more than 100 were missed. */
export function lastDue(
  schedule: Schedule,
  afterMs: number,
  untilMs: number,
  timeZone?: string,
): { at: number | undefined; tooMany: boolean } {
  let at: number | undefined;
  let from = afterMs;
  for (let count = 0; ; count++) {
    const next = nextDue(schedule, from, timeZone);
    if (next === undefined || next > untilMs) return { at, tooMany: count > 100 };
    at = next;
    // A long time away: only the end of it matters.
    from = count === 100 ? Math.max(next, untilMs - 24 * hourMs) : next;
  }
}
