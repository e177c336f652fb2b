import { setOwn } from './deep-equal.ts';

/** Applies a JSON merge patch (RFC 7386); the result shares what did not change with its inputs. */
export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete result[key];
    else setOwn(result, key, applyMergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value));
  }
  return result;
}

/** The merge patch that makes `now` of `before`. */
export function createMergePatch(before: unknown, now: unknown): unknown {
  if (!isObject(before) || !isObject(now)) return now;
  const patch: Record<string, unknown> = {};
  for (const key of Object.keys(before)) if (!Object.hasOwn(now, key)) setOwn(patch, key, null);
  for (const key of Object.keys(now)) {
    if (!Object.hasOwn(before, key)) setOwn(patch, key, now[key]);
    else if (isObject(before[key]) && isObject(now[key])) {
      const inner = createMergePatch(before[key], now[key]) as object;
      if (Object.keys(inner).length > 0) setOwn(patch, key, inner);
    } else if (JSON.stringify(before[key]) !== JSON.stringify(now[key])) setOwn(patch, key, now[key]);
  }
  return patch;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
