import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ImageFsInfoResponseSchema } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { toNanoseconds } from '../identifiers.ts';

/** ImageFsInfo: what images and the writable layers of containers take on disk. */
export async function imageFsInfo(
  context: RuntimeContext,
): Promise<MessageInitShape<typeof ImageFsInfoResponseSchema>> {
  const { mountpoint, usedBytes, inodesUsed } = await context.images.fsInfo();
  const usages = await Promise.all(
    context.store.containers.list().map(({ id }) => context.rootfs.usage(id).catch(() => ({ bytes: 0n, inodes: 0n }))),
  );
  const timestamp = toNanoseconds(context.clock.now());
  const filesystem = (bytes: bigint, inodes: bigint) => ({
    timestamp,
    fsId: { mountpoint },
    usedBytes: { value: bytes },
    inodesUsed: { value: inodes },
  });
  const sum = (pick: (usage: { bytes: bigint; inodes: bigint }) => bigint) =>
    usages.reduce((all, one) => all + pick(one), 0n);
  return {
    imageFilesystems: [filesystem(BigInt(usedBytes), BigInt(inodesUsed))],
    containerFilesystems: [
      filesystem(
        sum(({ bytes }) => bytes),
        sum(({ inodes }) => inodes),
      ),
    ],
  };
}
