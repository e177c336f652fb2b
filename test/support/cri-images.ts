import { programEntries, unpackedProgram, withDirectories } from './debian-packages.ts';
import { type ArchiveEntry, makeImage, makeLayer, type TestImage, type TestLayer } from './images.ts';
import { output } from './processes.ts';

/** An image with the names under which the CRI's test programs ask for it. */
export interface NamedImage {
  /** Full references with tags. */
  names: readonly string[];
  image: TestImage;
}

const e2e = 'registry.k8s.io/e2e-test-images';
const staging = 'gcr.io/k8s-staging-cri-tools';

/** References of the images that tests name most. */
export const criImageNames = {
  busybox: `${e2e}/busybox:1.29-2`,
  nginx: `${e2e}/nginx:1.14-2`,
  httpd: `${e2e}/httpd:2.4.39-4`,
  noNewPrivileges: `${e2e}/nonewprivs:1.3`,
  hostNetworkNginx: `${staging}/hostnet-nginx-${process.arch === 'arm64' ? 'arm64' : 'amd64'}:latest`,
  userUid: `${staging}/test-image-user-uid:latest`,
  userName: `${staging}/test-image-user-username:latest`,
  userUidGroup: `${staging}/test-image-user-uid-group:latest`,
  userNameGroup: `${staging}/test-image-user-username-group:latest`,
  predefinedGroup: `${staging}/test-image-predefined-group:latest`,
  pause: 'registry.k8s.io/pause:3.9',
} as const;

/** The registries whose names these images carry: a runtime needs a mirror for each. */
export const criRegistries = ['registry.k8s.io', 'k8s.gcr.io', 'gcr.io'] as const;

/** Debian packages that the images are built from and that need not be installed. */
export const criImagePackages = ['busybox', 'nginx'] as const;

const passwd = [
  'root:x:0:0:root:/root:/bin/sh',
  'www-data:x:33:33:www-data:/var/www:/bin/sh',
  'nobody:x:65534:65534:nobody:/:/bin/sh',
  '',
].join('\n');
const group = ['root:x:0:', 'www-data:x:33:', 'nogroup:x:65534:', ''].join('\n');

/**
 * A small system like the one that Kubernetes' tests use: Debian's dynamic busybox, which runs no applet inside its shell,
 * each applet a hard link (so that hiding `/bin/ls` hides nothing else), with the two programs that it lacks.
 */
export async function busyboxLayer(): Promise<TestLayer> {
  const busybox = await unpackedProgram('busybox', 'busybox');
  const applets = (await output([busybox, '--list'])).split('\n').filter((name) => name && name !== 'busybox');
  const entries: ArchiveEntry[] = [
    ...['bin/', 'etc/', 'proc/', 'sys/', 'dev/', 'home/', 'usr/bin/', 'var/run/', 'var/www/'].map((path) => ({ path })),
    { path: 'root/', mode: 0o700 },
    { path: 'tmp/', mode: 0o1777 },
    ...(await programEntries(busybox, 'bin/busybox')),
    // With the mode of the file: some runtimes apply that of the link to it.
    ...applets.map(
      (name): ArchiveEntry => ({ path: `bin/${name}`, type: 'hardlink', linkPath: 'bin/busybox', mode: 0o755 }),
    ),
    ...(await programEntries('/usr/bin/ipcs', 'usr/bin/ipcs')),
    ...(await programEntries('/usr/bin/pgrep', 'usr/bin/pgrep')),
    { path: 'etc/passwd', content: passwd },
    { path: 'etc/group', content: group },
  ];
  return makeLayer(withDirectories(entries));
}

/** Debian's nginx, serving a page on a port of its network namespace. */
async function nginxLayer(port: number): Promise<TestLayer> {
  const nginx = await unpackedProgram('nginx', 'nginx');
  const configuration = `user www-data;
worker_processes 1;
pid /var/run/nginx.pid;
error_log /dev/stderr;
events {}
http {
  access_log /dev/stdout;
  server { listen ${port}; root /usr/share/nginx/html; }
}
`;
  return makeLayer(
    withDirectories([
      ...(await programEntries(nginx, 'usr/sbin/nginx')),
      { path: 'etc/nginx/nginx.conf', content: configuration },
      { path: 'usr/share/nginx/html/index.html', content: '<title>Welcome</title>\n' },
      { path: 'var/lib/nginx/' },
      { path: 'var/log/nginx/' },
    ]),
  );
}

/** A program that belongs to root and runs as root whoever starts it, and says whose identity it got. */
async function setuidLayer(): Promise<TestLayer> {
  return makeLayer(withDirectories(await programEntries('/usr/bin/perl', 'bin/nnp', { mode: 0o4755 })));
}

const path = { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] };

/** An image with busybox below, more layers above it, and a configuration. */
export function onBusybox(base: TestLayer, config: object, more: readonly TestLayer[] = []): TestImage {
  return makeImage([base, ...more], { config: { ...path, ...config } });
}

/** Every image that critest asks for, except the one that it names by a digest nobody can imitate. */
export async function criImages(): Promise<NamedImage[]> {
  const base = await busyboxLayer();
  const nginx = { Cmd: ['nginx', '-g', 'daemon off;'], StopSignal: 'SIGQUIT' };
  const member = makeLayer([
    { path: 'etc/passwd', content: `${passwd}default-user:x:1000:1000::/home/default-user:/bin/sh\n` },
    { path: 'etc/group', content: `${group}default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n` },
  ]);
  const say = ['-e', 'print "Effective uid: $>\\n"'];
  const serve = 'echo "httpd: serving" >&2; exec httpd -f -p 80 -h /var/www';
  const wait = 'trap "exit 0" TERM INT; sleep infinity & wait';
  const one = (name: string, config: object, more: readonly TestLayer[] = []): NamedImage => ({
    names: [name],
    image: onBusybox(base, config, more),
  });
  const plain = (name: string): NamedImage => one(name, { Cmd: ['sh'], Labels: { name } });
  return [
    one(criImageNames.busybox, { Cmd: ['sh'] }),
    one(criImageNames.nginx, { ...nginx, ExposedPorts: { '80/tcp': {} } }, [await nginxLayer(80)]),
    one(criImageNames.hostNetworkNginx, nginx, [await nginxLayer(12_003)]),
    one(criImageNames.httpd, { Cmd: ['sh', '-c', serve] }, [
      makeLayer([{ path: 'var/www/index.html', content: 'It works!\n' }]),
    ]),
    one(criImageNames.noNewPrivileges, { Cmd: ['/bin/nnp', ...say] }, [await setuidLayer()]),
    one(criImageNames.userUid, { User: '1002' }),
    one(criImageNames.userName, { User: 'www-data' }),
    one(criImageNames.userUidGroup, { User: '1003:1004' }),
    one(criImageNames.userNameGroup, { User: 'www-data:1004' }),
    one(criImageNames.predefinedGroup, { User: '1000', Cmd: ['sh'] }, [member]),
    {
      names: [criImageNames.pause, 'k8s.gcr.io/pause:3.9'],
      image: onBusybox(base, { Entrypoint: ['/bin/sh', '-c', wait] }),
    },
    ...['test-image-latest:latest', 'test-image-1:latest', 'test-image-2:latest', 'test-image-3:latest'].map((name) =>
      plain(`${staging}/${name}`),
    ),
    one(`${staging}/test-image-tag:test`, { Entrypoint: ['/bin/sh', '-c', wait], Labels: { name: 'test' } }),
    plain(`${staging}/test-image-tag:all`),
    {
      names: ['1', '2', '3'].map((tag) => `${staging}/test-image-tags:${tag}`),
      image: onBusybox(base, { Cmd: ['sh'], Labels: { name: 'tags' } }),
    },
  ];
}
