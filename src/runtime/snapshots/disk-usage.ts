import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

/** What a tree takes on disk: allocated bytes and inodes, each hard-linked file once. Nothing there is nothing used. */
export async function diskUsage(directory: string): Promise<{ bytes: bigint; inodes: bigint }> {
  const seen = new Set<number>();
  const total = { bytes: 0n, inodes: 0n };
  const visit = async (path: string): Promise<void> => {
    const info = await lstat(path).catch(() => undefined);
    if (!info || (info.nlink > 1 && !info.isDirectory() && seen.has(info.ino))) return;
    seen.add(info.ino);
    total.bytes += BigInt(info.blocks) * 512n;
    total.inodes++;
    if (!info.isDirectory()) return;
    for await (const entry of await opendir(path)) await visit(join(path, entry.name));
  };
  await visit(directory).catch(() => {});
  return total;
}
