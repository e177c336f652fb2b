import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type MessageInitShape, toJson } from '@bufbuild/protobuf';
import {
  ContainerConfigSchema,
  type ContainerStatusRequest,
  type ContainerStatusResponseSchema,
} from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';
import { unlessMissing } from '../errors.ts';
import { toContainerStatus } from './convert.ts';

/** ContainerStatus: all that is known of a container; with `verbose`, its pid and configurations too. */
export async function containerStatus(
  context: RuntimeContext,
  request: ContainerStatusRequest,
): Promise<MessageInitShape<typeof ContainerStatusResponseSchema>> {
  const record = context.store.containers.get(request.containerId);
  return { status: toContainerStatus(record), info: request.verbose ? await describe(context, record.id) : {} };
}

async function describe(context: RuntimeContext, id: string): Promise<Record<string, string>> {
  const record = context.store.containers.get(id);
  const spec = await unlessMissing(readFile(join(context.paths.bundle(id), 'config.json'), 'utf8'));
  return {
    info: JSON.stringify({
      sandboxID: record.sandboxId,
      pid: record.phase.name === 'running' ? record.phase.process.pid : 0,
      cgroupPath: record.cgroupPath,
      updateAnnotations: record.updateAnnotations ?? {},
      // In the form in which crictl takes it.
      config: toJson(ContainerConfigSchema, record.config, { useProtoFieldName: true }),
      runtimeSpec: spec ? JSON.parse(spec) : undefined,
    }),
  };
}
