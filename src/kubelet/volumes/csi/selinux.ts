import { existsSync } from 'node:fs';
import type { SetUpRequest } from '../plugin.ts';
import { accessModeOf, type CsiContext } from './csi-context.ts';

/** Where the kernel shows SELinux when it is on. */
const selinuxMount = '/sys/fs/selinux/enforce';

/**
 * A driver may ask (seLinuxMount) that its volumes are mounted with the pod's SELinux label as an option. This kubelet does
 * not do that: on a node with SELinux such a volume is refused, since its files would have labels the pod cannot use.
 */
export async function refuseSelinuxMount(
  context: CsiContext,
  { pod, volume }: SetUpRequest,
  driver: string,
): Promise<void> {
  const level = pod.spec.securityContext?.seLinuxOptions?.level;
  if (level === undefined || accessModeOf(volume) !== 'ReadWriteOncePod' || !existsSync(selinuxMount)) return;
  if (!(await context.objects.get(driver))?.spec.seLinuxMount) return;
  throw new Error(
    `CSI driver ${driver} asks for mounts with an SELinux label (seLinuxMount), which this kubelet does not make: ` +
      `set seLinuxMount: false in its CSIDriver`,
  );
}
