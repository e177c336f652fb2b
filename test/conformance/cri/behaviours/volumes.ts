import assert from 'node:assert/strict';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { MountPropagation, NamespaceMode } from '../../../../src/api/cri/index.ts';
import { output, run } from '../../../support/processes.ts';
import type { Topic } from '../behaviour.ts';
import type { ContainerConfig, Cri, Pod } from '../cri.ts';
import { fails, refused } from '../expect.ts';

const { PROPAGATION_PRIVATE, PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL } = MountPropagation;
type Mount = NonNullable<ContainerConfig['mounts']>[number];
const mounted = (...mounts: Mount[]): ContainerConfig => ({ mounts });

/** A directory that is a mount of its own, shared with whoever mounts it; unmounted at the end. */
async function sharedMount(cri: Cri): Promise<{ path: string } & AsyncDisposable> {
  const path = await cri.newDirectory();
  await output(['mount', '--bind', path, path]);
  await output(['mount', '--make-shared', path]);
  return {
    path,
    [Symbol.asyncDispose]: async () => void (await run(['umount', '--recursive', path])),
  };
}

const privileged = {
  linux: { securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
};

/** What a container sees of a mount on the host, and the host of one in the container. */
async function propagation(cri: Cri, pod: Pod, kind: MountPropagation): Promise<{ inward: boolean; outward: boolean }> {
  await using shared = await sharedMount(cri);
  const container = await pod.run({
    ...mounted({ hostPath: shared.path, containerPath: '/mnt/p', propagation: kind }),
    ...privileged,
  });
  for (const name of ['host', 'inside']) await mkdir(`${shared.path}/${name}`);
  await output(['mount', '-t', 'tmpfs', 'none', `${shared.path}/host`]);
  writeFileSync(`${shared.path}/host/file`, 'x');
  await container.sh('mount -t tmpfs none /mnt/p/inside && touch /mnt/p/inside/file');
  const inward = (await container.exec('test', '-e', '/mnt/p/host/file')).code === 0;
  const outward = existsSync(`${shared.path}/inside/file`);
  await container.stop(0);
  return { inward, outward };
}

const declared = 'suite/volumes:1';
const data = () => ({ image: `${process.env['CRI_REGISTRY']}/suite/data:1` });

/** Directories, files and images in containers. */
export const volumes: Topic = [
  'volumes',
  [
    {
      name: 'a directory of the host, to be written to and read-only',
      async run(cri) {
        const hostPath = await cri.newDirectory();
        writeFileSync(`${hostPath}/file`, 'from the host');
        await using pod = await cri.pod();
        const container = await pod.run(
          mounted({ hostPath, containerPath: '/rw' }, { hostPath, containerPath: '/ro', readonly: true }),
        );
        assert.equal(await container.sh('cat /rw/file /ro/file'), 'from the hostfrom the host');
        await container.sh('echo back > /rw/new');
        assert.equal(readFileSync(`${hostPath}/new`, 'utf8'), 'back\n');
        assert.match((await container.exec('touch', '/ro/x')).stderr, /Read-only file system/);
      },
    },
    {
      name: 'a file of the host, and over a file of the image',
      async run(cri) {
        const hostPath = `${await cri.newDirectory()}/hosts`;
        writeFileSync(hostPath, '127.0.0.1 mine\n');
        await using pod = await cri.pod();
        const container = await pod.run(
          mounted(
            { hostPath, containerPath: '/etc/hosts' },
            { hostPath, containerPath: '/etc/passwd', readonly: true },
          ),
        );
        assert.equal(await container.sh('cat /etc/hosts'), '127.0.0.1 mine');
        assert.equal(await container.sh('cat /etc/passwd'), '127.0.0.1 mine');
      },
    },
    {
      name: 'a link on the host is followed',
      async run(cri) {
        const directory = await cri.newDirectory();
        await mkdir(`${directory}/real`);
        writeFileSync(`${directory}/real/file`, 'x');
        symlinkSync('real', `${directory}/link`);
        await using pod = await cri.pod();
        const container = await pod.run(mounted({ hostPath: `${directory}/link`, containerPath: '/mnt/l' }));
        assert.equal(await container.sh('cat /mnt/l/file'), 'x');
      },
    },
    {
      name: 'a directory that is not there is made',
      async run(cri) {
        const hostPath = `${await cri.newDirectory()}/not/there`;
        await using pod = await cri.pod();
        const container = await pod.run(mounted({ hostPath, containerPath: '/mnt/n' }));
        await container.sh('echo x > /mnt/n/file');
        assert.ok(existsSync(`${hostPath}/file`));
      },
    },
    {
      name: 'mounts lie on one another in the order of their depth, whatever the order in the request',
      async run(cri) {
        const [outer, inner] = [await cri.newDirectory(), await cri.newDirectory()];
        await mkdir(`${outer}/inner`);
        writeFileSync(`${inner}/file`, 'inner');
        await using pod = await cri.pod();
        const container = await pod.run(
          mounted({ hostPath: inner, containerPath: '/mnt/o/inner' }, { hostPath: outer, containerPath: '/mnt/o' }),
        );
        assert.equal(await container.sh('cat /mnt/o/inner/file'), 'inner');
      },
    },
    {
      name: 'two containers share a directory',
      async run(cri) {
        const hostPath = await cri.newDirectory();
        await using pod = await cri.pod();
        const [one, two] = [
          await pod.run(mounted({ hostPath, containerPath: '/a' })),
          await pod.run(mounted({ hostPath, containerPath: '/b' })),
        ];
        await one.sh('echo shared > /a/file');
        assert.equal(await two.sh('cat /b/file'), 'shared');
      },
    },
    {
      name: 'propagation PRIVATE: neither sees the mounts of the other',
      async run(cri) {
        await using pod = await cri.pod(privileged);
        assert.deepEqual(await propagation(cri, pod, PROPAGATION_PRIVATE), { inward: false, outward: false });
      },
    },
    {
      name: 'propagation HOST_TO_CONTAINER: the container sees those of the host',
      async run(cri) {
        await using pod = await cri.pod(privileged);
        assert.deepEqual(await propagation(cri, pod, PROPAGATION_HOST_TO_CONTAINER), { inward: true, outward: false });
      },
    },
    {
      name: 'propagation BIDIRECTIONAL: both see those of the other',
      async run(cri) {
        await using pod = await cri.pod(privileged);
        assert.deepEqual(await propagation(cri, pod, PROPAGATION_BIDIRECTIONAL), { inward: true, outward: true });
      },
    },
    {
      name: 'propagation of a mount that is not shared is refused',
      async run(cri) {
        const hostPath = await cri.newDirectory();
        await output(['mount', '--bind', hostPath, hostPath]);
        await output(['mount', '--make-private', hostPath]);
        try {
          await using pod = await cri.pod(privileged);
          const mount = { hostPath, containerPath: '/mnt/p', propagation: PROPAGATION_BIDIRECTIONAL };
          await fails(pod.run({ ...mounted(mount), ...privileged }), refused, /shared/);
        } finally {
          await run(['umount', hostPath]);
        }
      },
    },
    {
      name: 'recursive read-only covers the mounts below; a plain read-only mount does not',
      needs: ['recursive-read-only'],
      async run(cri) {
        await using shared = await sharedMount(cri);
        await mkdir(`${shared.path}/below`);
        await output(['mount', '-t', 'tmpfs', 'none', `${shared.path}/below`]);
        await using pod = await cri.pod();
        const mount = { hostPath: shared.path, containerPath: '/mnt/r', readonly: true };
        const recursive = await pod.run(mounted({ ...mount, recursiveReadOnly: true }));
        assert.match((await recursive.exec('touch', '/mnt/r/below/x')).stderr, /Read-only file system/);
        const plain = await pod.run(mounted(mount));
        assert.equal((await plain.exec('touch', '/mnt/r/below/x')).code, 0);
        const { mounts } = await recursive.status();
        assert.equal(mounts.find(({ containerPath }) => containerPath === '/mnt/r')!.recursiveReadOnly, true);
      },
    },
    {
      name: 'recursive read-only that cannot be is refused: not read-only, or with propagation',
      needs: ['recursive-read-only'],
      async run(cri) {
        await using shared = await sharedMount(cri);
        await using pod = await cri.pod();
        const mount = { hostPath: shared.path, containerPath: '/mnt/r', recursiveReadOnly: true };
        await fails(pod.run(mounted(mount)), refused, /read.?only/i);
        for (const propagation of [PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL])
          await fails(pod.run(mounted({ ...mount, readonly: true, propagation })), refused, /propagation/i);
      },
    },
    {
      name: 'an image as a volume: its files, read-only, and programs in it run',
      needs: ['image-volumes', 'named-registry'],
      async run(cri) {
        const image = data();
        await cri.pull(image.image);
        await using pod = await cri.pod();
        const container = await pod.run(mounted({ image, containerPath: '/mnt/i', readonly: true }));
        assert.equal(await container.sh('cat /mnt/i/data/file; /mnt/i/data/run'), 'from the image\nit runs');
        assert.match((await container.exec('touch', '/mnt/i/data/x')).stderr, /Read-only file system/);
        const mount = (await container.status()).mounts.find(({ containerPath }) => containerPath === '/mnt/i')!;
        assert.equal(mount.image!.image, image.image);
        assert.match(mount.image!.imageRef, /sha256:/);
      },
    },
    {
      name: 'a directory or a file of an image as a volume; one that is not there is refused',
      needs: ['image-volumes', 'named-registry'],
      async run(cri) {
        const image = data();
        await cri.pull(image.image);
        await using pod = await cri.pod();
        const part = (imageSubPath: string) =>
          mounted({ image, containerPath: '/mnt/i', readonly: true, imageSubPath });
        assert.equal(await (await pod.run(part('data/deep'))).sh('cat /mnt/i/er'), 'deeper');
        await fails(pod.run(part('data/none')), [...refused, 'NOT_FOUND'], /data\/none|none/);
        await fails(pod.run(part('../../none')), [...refused, 'NOT_FOUND']);
      },
    },
    {
      name: 'an image as a volume that may be written to is refused',
      needs: ['image-volumes', 'named-registry', 'deckhand'],
      async run(cri) {
        const image = data();
        await cri.pull(image.image);
        await using pod = await cri.pod();
        await fails(pod.run(mounted({ image, containerPath: '/mnt/i', readonly: false })), refused, /read.?only/i);
        await fails(
          pod.run(
            mounted({ image: { image: 'registry.k8s.io/not/pulled:1' }, containerPath: '/mnt/i', readonly: true }),
          ),
          [...refused, 'NOT_FOUND'],
        );
      },
    },
    {
      name: 'a volume that the image declares holds what the image has there',
      needs: ['named-registry'],
      async run(cri) {
        const image = { image: `${process.env['CRI_REGISTRY']}/${declared}` };
        await cri.pull(image.image);
        await using pod = await cri.pod();
        const container = await pod.run({ image });
        assert.equal(await container.sh('cat /declared/seed; echo x > /declared/new; cat /declared/new'), 'seed\nx');
      },
    },
    {
      name: 'a mount that cannot be is refused: no path in the container, a relative one, nothing to mount',
      async run(cri) {
        const hostPath = await cri.newDirectory();
        await using pod = await cri.pod();
        await fails(pod.run(mounted({ hostPath, containerPath: '' })), refused);
        await fails(pod.run(mounted({ hostPath: '', containerPath: '/x' })), refused);
      },
    },
  ],
];
