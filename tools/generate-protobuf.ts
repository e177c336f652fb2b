/**
 * Generates the messages of rooms whose .proto files are written by hand (src/api/plugins and the like) into their
 * generated/ folders, by buf and protoc-gen-es.
 *
 * Usage: node tools/generate-protobuf.ts [ROOM...]   (default: every room below src/api with .proto files but cri)
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const api = join(import.meta.dirname, '../src/api');
const bin = join(import.meta.dirname, '../node_modules/.bin');

const rooms = readdirSync(api, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'cri')
  .map(({ name }) => name)
  .filter((name) => readdirSync(join(api, name)).some((file) => file.endsWith('.proto')));

for (const room of process.argv.length > 2 ? process.argv.slice(2) : rooms) {
  execFileSync(join(bin, 'buf'), ['generate', '--template', 'buf.gen.yaml', '.'], {
    cwd: join(api, room),
    stdio: 'inherit',
    env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` },
  });
}
