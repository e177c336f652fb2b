import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LinuxContainerResources } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { writeAtomically } from '../store/json-file.ts';
import { groundOf } from './ground.ts';
import type { OciSpec } from './spec/oci-spec.ts';
import { ociResources } from './spec/resources.ts';

/** Gives a container that has not started yet other limits. */
export async function updateBundleResources(
  context: RuntimeContext,
  id: string,
  resources: LinuxContainerResources,
): Promise<void> {
  const path = join(context.paths.bundle(id), 'config.json');
  const spec = JSON.parse(await readFile(path, 'utf8')) as OciSpec;
  spec.linux.resources = {
    devices: spec.linux.resources.devices,
    ...ociResources(resources, groundOf(context).resources),
  };
  await writeAtomically(path, JSON.stringify(spec));
}
