import { existsSync, readFileSync } from 'node:fs';

const always = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

/** Paths that containers see but cannot write to. */
export const readOnlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

let known: readonly string[] | undefined;

/** Paths that containers do not see, with those of the machine's processors that tell how warm they are. */
export function maskedPaths(): readonly string[] {
  known ??= [
    ...always,
    ...possibleProcessors()
      .map((number) => `/sys/devices/system/cpu/cpu${number}/thermal_throttle`)
      .filter((path) => existsSync(path)),
  ];
  return known;
}

/** Numbers of the processors that the machine may have: `0-3,8`. */
function possibleProcessors(): number[] {
  try {
    const text = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim();
    return text.split(',').flatMap((part) => {
      const [first, last = first] = part.split('-').map(Number) as [number, number?];
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
  } catch {
    return [];
  }
}
