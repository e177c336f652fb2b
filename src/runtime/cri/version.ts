import type { RuntimeContext } from '../context.ts';

/** Version: who serves, and which CRI. */
export function version(context: RuntimeContext) {
  return {
    version: '0.1.0',
    runtimeName: 'deckhand',
    runtimeVersion: context.settings.version,
    runtimeApiVersion: 'v1',
  };
}
