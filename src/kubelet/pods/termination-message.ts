import { open } from 'node:fs/promises';
import { annotations } from './names.ts';
import type { RuntimeContainer } from './runtime-state.ts';

/** Longest termination message, bytes. */
const maxMessageBytes = 4096;
/** Of a log that stands in for the message: at most so many bytes and lines. */
const maxLogBytes = 2048;
const maxLogLines = 80;

/**
 * The message of a container that has ended: the runtime's own, then the file that the container may have written to its
 * terminationMessagePath, or the end of its log when it failed and its policy says so.
 */
export async function terminationMessage(container: RuntimeContainer): Promise<string> {
  const path = container.annotations[annotations.terminationMessagePath];
  const file = path ? container.mounts.find(({ containerPath }) => containerPath === path)?.hostPath : undefined;
  let text = file ? await readEnd(file, maxMessageBytes, 'start').catch(() => '') : '';
  const fallback = container.annotations[annotations.terminationMessagePolicy] === 'FallbackToLogsOnError';
  if (text === '' && fallback && container.exitCode !== 0) text = await logTail(container.logPath).catch(() => '');
  if (container.message && text) return `${container.message}: ${text}`;
  return container.message || text;
}

async function readEnd(path: string, bytes: number, from: 'start' | 'end'): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const length = Math.min(size, bytes);
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(length),
      0,
      length,
      from === 'start' ? 0 : size - length,
    );
    return buffer.subarray(0, bytesRead).toString('utf8');
  } finally {
    await file.close();
  }
}

/** The last lines of a CRI log, without time, stream and tag. */
async function logTail(path: string): Promise<string> {
  if (!path) return '';
  // Each line carries about 45 bytes of its own before the text.
  const raw = await readEnd(path, maxLogBytes + maxLogLines * 45, 'end');
  const lines = raw.split('\n').filter((line) => line !== '');
  let text = '';
  for (const line of lines.slice(-maxLogLines)) {
    const match = /^\S+ (?:stdout|stderr) ([FP])\S* (.*)$/.exec(line);
    if (match) text += match[2] + (match[1] === 'F' ? '\n' : '');
  }
  return Buffer.from(text).subarray(-maxLogBytes).toString('utf8');
}
