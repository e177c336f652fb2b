import { mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { HostPathVolumeSource } from '../../api/index.ts';
import { VolumeError } from './volume-error.ts';

/** Checks (or makes) what a hostPath volume names. @throws VolumeError when it is not of the asked type */
export async function checkHostPath({ path, type = '' }: HostPathVolumeSource): Promise<string> {
  if (type === '') return path;
  const info = await stat(path).catch(() => undefined);
  if (type === 'DirectoryOrCreate') {
    if (!info) await mkdir(path, { recursive: true, mode: 0o755 });
    else if (!info.isDirectory()) throw wrongType(path, 'directory');
    return path;
  }
  if (type === 'FileOrCreate') {
    if (!info) {
      await stat(dirname(path)).catch(() => {
        throw new VolumeError('FAILED', `hostPath type check failed: ${dirname(path)} does not exist`);
      });
      await (await open(path, 'a', 0o644)).close();
    } else if (!info.isFile()) throw wrongType(path, 'file');
    return path;
  }
  const tests: Record<string, [boolean | undefined, string]> = {
    Directory: [info?.isDirectory(), 'directory'],
    File: [info?.isFile(), 'file'],
    Socket: [info?.isSocket(), 'socket file'],
    CharDevice: [info?.isCharacterDevice(), 'character device'],
    BlockDevice: [info?.isBlockDevice(), 'block device'],
  };
  const test = tests[type];
  if (!test) throw new VolumeError('INVALID', `unknown hostPath type ${JSON.stringify(type)}`);
  if (!test[0]) throw wrongType(path, test[1]);
  return path;
}

function wrongType(path: string, kind: string): VolumeError {
  return new VolumeError('FAILED', `hostPath type check failed: ${path} is not a ${kind}`);
}
