import { stat } from 'node:fs/promises';
import type { Clock } from '../async/index.ts';
import { runProgram } from '../host/exec/index.ts';
import { messageOf } from './errors.ts';

const known = new Map<string, { changedMs: number; version: string }>();

/** The first line of what a program says of its version; asked again only when the program has changed. */
export async function programVersion(path: string, clock: Clock): Promise<string> {
  try {
    const { mtimeMs: changedMs } = await stat(path);
    const last = known.get(path);
    if (last?.changedMs === changedMs) return last.version;
    const { stdout, stderr } = await runProgram([path, '--version'], { timeoutMs: 10_000, clock });
    const [version = ''] = (stdout.toString() || stderr.toString()).trim().split('\n');
    known.set(path, { changedMs, version });
    return version;
  } catch (cause) {
    return `cannot be run: ${messageOf(cause)}`;
  }
}
