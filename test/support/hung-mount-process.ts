/**
 * A file system that never answers a look-up: `node hung-mount-process.ts DIRECTORY`. Whoever asks for a file in it
 * waits without hearing signals, SIGKILL too, until this process ends. Prints `mounted`.
 */
import { constants, openSync, readSync, writeSync } from 'node:fs';
import { calls } from '../../src/host/system-calls/index.ts';

const [directory = ''] = process.argv.slice(2);
const device = openSync('/dev/fuse', constants.O_RDWR);
calls.mount('hung', directory, 'fuse', 0, `fd=${device},rootmode=40000,user_id=0,group_id=0,allow_other`);
process.stdout.write('mounted\n');

/** Operations of the FUSE protocol (linux/fuse.h) that are answered or that have no answer. */
const operations = { lookup: 1, forget: 2, getattr: 3, init: 26, forgetMany: 42 } as const;
const noSuchCall = -38;

for (;;) {
  const request = Buffer.alloc(1 << 17);
  readSync(device, request);
  const operation = request.readUInt32LE(4);
  if (operation === operations.lookup || operation === operations.forget || operation === operations.forgetMany)
    continue;
  const unique = request.readBigUInt64LE(8);
  if (operation === operations.init) answer(unique, initialized());
  else if (operation === operations.getattr) answer(unique, rootAttributes());
  else answer(unique, Buffer.alloc(0), noSuchCall);
}

function answer(unique: bigint, body: Buffer, error = 0): void {
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + body.length, 0);
  head.writeInt32LE(error, 4);
  head.writeBigUInt64LE(unique, 8);
  writeSync(device, Buffer.concat([head, body]));
}

function initialized(): Buffer {
  const body = Buffer.alloc(64);
  const [major, minor, largestWrite] = [7, 31, 4096];
  body.writeUInt32LE(major, 0);
  body.writeUInt32LE(minor, 4);
  body.writeUInt32LE(largestWrite, 20);
  return body;
}

function rootAttributes(): Buffer {
  const body = Buffer.alloc(104);
  body.writeBigUInt64LE(1n, 16);
  // Behind six numbers of 64 bits and three of 32: mode and number of links.
  body.writeUInt32LE(0o40755, 76);
  body.writeUInt32LE(2, 80);
  return body;
}
