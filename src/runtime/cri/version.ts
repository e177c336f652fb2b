import type { MessageInitShape } from '@bufbuild/protobuf';
import type { VersionResponseSchema } from '../../api/cri/index.ts';
import type { RuntimeContext } from '../context.ts';

/** Version: who serves, and which CRI. */
export function version(context: RuntimeContext): MessageInitShape<typeof VersionResponseSchema> {
  return {
    version: '0.1.0',
    runtimeName: 'deckhand',
    runtimeVersion: context.settings.version,
    runtimeApiVersion: 'v1',
  };
}
