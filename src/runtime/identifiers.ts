import { randomBytes } from 'node:crypto';

/** A new id: 64 hexadecimal digits. */
export function newId(): string {
  return randomBytes(32).toString('hex');
}

/** Whether labels hold every pair of a selector. */
export function matchesLabels(
  labels: Readonly<Record<string, string>>,
  selector: Readonly<Record<string, string>> | undefined,
): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value);
}

/** Milliseconds since 1970 as the nanoseconds of the CRI. */
export function toNanoseconds(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}
