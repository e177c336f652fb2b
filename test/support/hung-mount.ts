/**
 * Mounts a file system at the path that it is given which never answers, as that of a dead server would be, until its
 * standard input ends. Prints `mounted`.
 */
import { openSync } from 'node:fs';
import { calls } from '../../src/host/system-calls/index.ts';

const [target = ''] = process.argv.slice(2);
// The program that should answer requests is this one, and it does not.
const fuse = openSync('/dev/fuse', 'r+');
calls.mount('hung', target, 'fuse', 0, `fd=${fuse},rootmode=40000,user_id=0,group_id=0`);
process.stdout.write('mounted\n');
process.stdin.resume().on('end', () => {
  const detach = 2;
  calls.umount2(target, detach);
  process.exit(0);
});
