import type { MessageInitShape } from '@bufbuild/protobuf';
import { CgroupDriver, type RuntimeConfigResponseSchema } from '../../api/cri/index.ts';

/** RuntimeConfig: cgroups are made by writing to the file system, without systemd. */
export function runtimeConfig(): MessageInitShape<typeof RuntimeConfigResponseSchema> {
  return { linux: { cgroupDriver: CgroupDriver.CGROUPFS } };
}
