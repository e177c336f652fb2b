import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { type TarEntry, writeTar } from '../image-build/tar.ts';

/** An image in memory: what a registry serves of it. */
export interface DemoImage {
  manifest: Buffer;
  /** By digest: the configuration and the layer. */
  blobs: Map<string, Buffer>;
}

/** The small web server that the demo runs: it answers with its version and its own host name. */
const serveScript = `#!/bin/sh
mkdir -p /www
echo "$VERSION $(hostname)" > /www/index.html
# Process 1 gets no default action for signals: end on SIGTERM by ourselves.
trap 'exit 0' TERM
httpd -f -p 8080 -h /www &
wait $!
`;

const applets = [
  'sh',
  'httpd',
  'wget',
  'hostname',
  'mkdir',
  'echo',
  'sleep',
  'cat',
  'ls',
  'ping',
  'nslookup',
  'seq',
  'sort',
  'uniq',
  'kill',
  'id',
  'ps',
  'date',
  'dd',
  'tail',
  'env',
  'true',
  'touch',
  'rm',
  'test',
  'nc',
];

/** Builds the demo's image from Debian's busybox-static. `version` makes images differ. */
export async function buildDemoImage(version: string): Promise<DemoImage> {
  const busybox = await readFile('/bin/busybox');
  const files: TarEntry[] = [
    ...['bin', 'etc', 'tmp', 'root', 'www', 'proc', 'sys', 'dev'].map(
      (path): TarEntry => ({ path, mode: path === 'tmp' ? 0o1777 : 0o755, kind: 'directory' }),
    ),
    { path: 'bin/busybox', mode: 0o755, kind: 'bytes', content: busybox },
    ...applets.map((name): TarEntry => ({ path: `bin/${name}`, mode: 0o777, kind: 'link', target: 'busybox' })),
    { path: 'bin/serve', mode: 0o755, kind: 'bytes', content: Buffer.from(serveScript) },
    {
      path: 'etc/passwd',
      mode: 0o644,
      kind: 'bytes',
      content: Buffer.from('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n'),
    },
    { path: 'etc/group', mode: 0o644, kind: 'bytes', content: Buffer.from('root:x:0:\nnogroup:x:65534:\n') },
  ];
  const tar = Buffer.concat(await Array.fromAsync(writeTar(files)));
  const layer = gzipSync(tar, { level: 1 });
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: { Cmd: ['/bin/serve'], Env: ['PATH=/bin', `VERSION=${version}`], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.length },
      layers: [
        { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digestOf(layer), size: layer.length },
      ],
    }),
  );
  return {
    manifest,
    blobs: new Map([
      [digestOf(config), config],
      [digestOf(layer), layer],
    ]),
  };
}

/** `sha256:…` of some bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
