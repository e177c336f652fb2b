import assert from 'node:assert/strict';
import { criImageNames } from '../../../support/cri-images.ts';
import type { Topic } from '../behaviour.ts';
import type { Cri } from '../cri.ts';
import { busybox } from '../cri.ts';
import { fails, refused } from '../expect.ts';

const staging = 'gcr.io/k8s-staging-cri-tools';
const status = async ({ images }: Cri, image: string) => (await images.imageStatus({ image: { image } })).image;
const list = async ({ images }: Cri, image?: string) =>
  (await images.listImages(image ? { filter: { image: { image } } } : {})).images;
const remove = ({ images }: Cri, image: string) => images.removeImage({ image: { image } });
const pull = async ({ images }: Cri, image: string) => (await images.pullImage({ image: { image } })).imageRef;
const own = (name: string) => `${process.env['CRI_REGISTRY']}/suite/${name}`;

/** Pulling, naming and removing images. These take turns: they change what all see. */
export const images: Topic = [
  'images',
  [
    {
      name: 'by tag, and without one for latest',
      alone: true,
      async run(cri) {
        for (const name of [`${staging}/test-image-tag:test`, `${staging}/test-image-latest`]) {
          await pull(cri, name);
          const image = await status(cri, name);
          assert.ok(image && image.size > 0n);
          assert.ok(image.repoTags.includes(name.includes(':') ? name : `${name}:latest`), image.repoTags.join());
          assert.equal((await list(cri, name)).length, 1);
          await remove(cri, name);
          assert.equal(await status(cri, name), undefined);
          assert.deepEqual(await list(cri, name), []);
        }
      },
    },
    {
      name: 'by digest, and what is not of that digest is refused',
      needs: ['named-registry'],
      alone: true,
      async run(cri) {
        await pull(cri, own('digest:1'));
        const [digest] = (await status(cri, own('digest:1')))!.repoDigests;
        await remove(cri, own('digest:1'));
        await pull(cri, digest!);
        const image = (await status(cri, digest!))!;
        assert.deepEqual(image.repoTags, []);
        assert.deepEqual(image.repoDigests, [digest]);
        await using pod = await cri.pod();
        const container = await pod.create({ image: { image: digest! } });
        assert.ok(container.id);
        await pod.stop();
        await pod.remove();
        await remove(cri, digest!);
        const wrong = own(`digest@sha256:${'0'.repeat(64)}`);
        await fails(pull(cri, wrong), ['NOT_FOUND', 'UNKNOWN']);
      },
    },
    {
      name: 'an image is known by its tag, its digest, its id, and the beginning of that',
      alone: true,
      async run(cri) {
        const name = `${staging}/test-image-1:latest`;
        await pull(cri, name);
        const image = (await status(cri, name))!;
        for (const reference of [image.id, image.repoDigests[0]!, image.id.replace('sha256:', '').slice(0, 13)])
          assert.equal((await status(cri, reference))?.id, image.id, reference);
        await remove(cri, name);
      },
    },
    {
      name: 'three tags are one image, and the removal of one removes all',
      alone: true,
      async run(cri) {
        const names = ['1', '2', '3'].map((tag) => `${staging}/test-image-tags:${tag}`);
        for (const name of names) await pull(cri, name);
        const [image, ...others] = (await list(cri)).filter(({ repoTags }) =>
          repoTags.some((tag) => names.includes(tag)),
        );
        assert.deepEqual(others, []);
        assert.deepEqual([...image!.repoTags].sort(), names);
        await remove(cri, names[0]!);
        for (const name of names) assert.equal(await status(cri, name), undefined);
      },
    },
    {
      name: 'an image of two registries is one, and the removal removes both names',
      alone: true,
      async run(cri) {
        const [one, two] = ['registry.k8s.io/pause:3.9', 'k8s.gcr.io/pause:3.9'];
        const ids = [await pull(cri, one!), await pull(cri, two!)];
        assert.equal((await status(cri, one!))!.id, (await status(cri, two!))!.id);
        assert.ok(ids.every(Boolean));
        await remove(cri, two!);
        assert.equal(await status(cri, one!), undefined);
      },
    },
    {
      name: 'three images are three',
      alone: true,
      async run(cri) {
        const names = ['1', '2', '3'].map((number) => `${staging}/test-image-${number}:latest`);
        for (const name of names) await pull(cri, name);
        const ids = new Set(
          (await list(cri)).filter(({ repoTags }) => repoTags.some((tag) => names.includes(tag))).map(({ id }) => id),
        );
        assert.equal(ids.size, 3);
        await Promise.all(names.map((name) => remove(cri, name)));
        for (const name of names) assert.equal(await status(cri, name), undefined);
      },
    },
    {
      name: 'the id that a pull gives is that of lists and statuses',
      needs: ['image-id'],
      alone: true,
      async run(cri) {
        const name = `${staging}/test-image-2:latest`;
        const reference = await pull(cri, name);
        assert.equal((await status(cri, name))!.id, reference);
        assert.ok((await list(cri)).some(({ id }) => id === reference));
        await using pod = await cri.pod();
        const container = await pod.create({ image: { image: name } });
        assert.equal((await container.status()).imageId, reference);
        await pod.stop();
        await pod.remove();
        await remove(cri, name);
      },
    },
    {
      name: 'the user of an image is told as a number or as a name',
      async run(cri) {
        const expected = [
          [criImageNames.userUid, 1002n, ''],
          [criImageNames.userName, undefined, 'www-data'],
          [criImageNames.userUidGroup, 1003n, ''],
          [criImageNames.userNameGroup, undefined, 'www-data'],
        ] as const;
        for (const [name, uid, username] of expected) {
          await pull(cri, name);
          const image = (await status(cri, name))!;
          assert.deepEqual([image.uid?.value, image.username], [uid, username], name);
        }
      },
    },
    {
      name: 'a pull that many ask for at once succeeds for all',
      alone: true,
      async run(cri) {
        const name = `${staging}/test-image-3:latest`;
        const references = await Promise.all(Array.from({ length: 6 }, () => pull(cri, name)));
        assert.equal(new Set(references).size, 1);
        await Promise.all(Array.from({ length: 5 }, () => remove(cri, name)));
        assert.equal(await status(cri, name), undefined);
      },
    },
    {
      name: 'an image that is nowhere, a registry that is not there, a name that is none: each an error that says so',
      async run(cri) {
        await fails(pull(cri, 'registry.k8s.io/no/such-image:1'), ['NOT_FOUND', 'UNKNOWN'], /no\/such-image/);
        await fails(pull(cri, '127.0.0.1:1/some/image:1'), ['UNKNOWN', 'UNAVAILABLE'], /127\.0\.0\.1:1/);
        for (const name of ['UPPER CASE', 'a b', ':', 'x@sha256:12', '']) await fails(pull(cri, name), refused);
        await fails(cri.images.pullImage({}), refused);
        await fails(cri.images.imageStatus({}), refused);
        await fails(cri.images.removeImage({}), refused);
      },
    },
    {
      name: 'one that is not there has an empty status, is in no list, and its removal is no error',
      async run(cri) {
        const name = 'registry.k8s.io/never/seen:1';
        assert.equal(await status(cri, name), undefined);
        assert.deepEqual(await list(cri, name), []);
        await remove(cri, name);
        await remove(cri, `sha256:${'1'.repeat(64)}`);
      },
    },
    {
      name: 'the verbose status holds the image’s configuration',
      async run(cri) {
        const { info } = await cri.images.imageStatus({ image: { image: busybox }, verbose: true });
        const { imageSpec } = JSON.parse(info['info']!);
        assert.deepEqual(imageSpec.config.Cmd, ['sh']);
      },
    },
    {
      name: 'a container goes on when its image is removed, and the image can be pulled again',
      needs: ['named-registry'],
      alone: true,
      async run(cri) {
        await pull(cri, own('digest:1'));
        await using pod = await cri.pod();
        const container = await pod.run({ image: { image: own('digest:1') } });
        await remove(cri, own('digest:1')).catch(() => {});
        assert.equal(await container.sh('ls / >/dev/null; echo well'), 'well');
        await pull(cri, own('digest:1'));
        await pod.stop();
        await pod.remove();
        await remove(cri, own('digest:1'));
      },
    },
    {
      name: 'a tag that moves leaves the old image without a name until it is removed',
      needs: ['named-registry', 'deckhand'],
      alone: true,
      async run(cri) {
        await pull(cri, own('digest:1'));
        const first = (await status(cri, own('digest:1')))!;
        assert.equal((await list(cri)).filter(({ id }) => id === first.id).length, 1);
        assert.equal(first.pinned, false);
        await remove(cri, first.id);
        assert.equal(await status(cri, first.id), undefined);
      },
    },
    {
      name: 'layers: a removal, an opaque directory, a hard link, a link and owners are as the image has them',
      needs: ['named-registry'],
      async run(cri) {
        const image = own('layers:1');
        await pull(cri, image);
        await using pod = await cri.pod();
        const container = await pod.run({ image: { image } });
        assert.equal(await container.sh('ls /dir'), 'new');
        assert.equal(await container.sh('ls /gone 2>/dev/null || echo gone'), 'gone');
        assert.equal(await container.sh('stat -c "%h %u:%g %a" /linked'), '2 0:0 644');
        assert.equal(await container.sh('stat -c "%u:%g %a" /owned'), '1000:2000 4755');
        assert.equal(await container.sh('readlink /link; cat /link'), '/linked\ncontent');
      },
    },
  ],
];
