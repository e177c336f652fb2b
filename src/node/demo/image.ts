import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

/** An image in memory: what a registry serves of it. */
export interface DemoImage {
  manifest: Buffer;
  /** By digest: the configuration and the layer. */
  blobs: Map<string, Buffer>;
}

/** One file of the image. */
interface File {
  path: string;
  mode: number;
  content?: Buffer;
  linkTo?: string;
  directory?: true;
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
  const files: File[] = [
    ...['bin', 'etc', 'tmp', 'root', 'www', 'proc', 'sys', 'dev'].map(
      (path): File => ({ path, mode: path === 'tmp' ? 0o1777 : 0o755, directory: true }),
    ),
    { path: 'bin/busybox', mode: 0o755, content: busybox },
    ...applets.map((name): File => ({ path: `bin/${name}`, mode: 0o777, linkTo: 'busybox' })),
    { path: 'bin/serve', mode: 0o755, content: Buffer.from(serveScript) },
    {
      path: 'etc/passwd',
      mode: 0o644,
      content: Buffer.from('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n'),
    },
    { path: 'etc/group', mode: 0o644, content: Buffer.from('root:x:0:\nnogroup:x:65534:\n') },
  ];
  const tar = writeTar(files);
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

/** Writes a tar archive (ustar, POSIX.1-1988); every file belongs to root. */
function writeTar(files: readonly File[]): Buffer {
  const parts: Buffer[] = [];
  for (const file of files) {
    const size = file.content?.length ?? 0;
    const header = Buffer.alloc(512);
    const octal = (value: number, offset: number, length: number) =>
      header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
    header.write(file.directory ? `${file.path}/` : file.path, 0, 100, 'latin1');
    octal(file.mode, 100, 8);
    octal(0, 108, 8);
    octal(0, 116, 8);
    octal(size, 124, 12);
    octal(0, 136, 12);
    header.write(file.directory ? '5' : file.linkTo ? '2' : '0', 156, 'latin1');
    header.write(file.linkTo ?? '', 157, 100, 'latin1');
    header.write('ustar\0', 257, 'latin1');
    header.write('00', 263, 'latin1');
    header.fill(0x20, 148, 156);
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
      'latin1',
    );
    parts.push(header);
    if (file.content) parts.push(file.content, Buffer.alloc((512 - (size % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}
