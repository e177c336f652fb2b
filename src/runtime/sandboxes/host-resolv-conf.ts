import { readFile } from 'node:fs/promises';
import { unlessMissing } from '../errors.ts';

/** The host's resolver configuration, for sandboxes that bring none. */
export async function hostResolvConf(): Promise<string> {
  return (await unlessMissing(readFile('/etc/resolv.conf', 'utf8'))) ?? '';
}
