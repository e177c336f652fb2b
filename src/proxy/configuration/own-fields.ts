import type { ConfigurationField } from './fields.ts';

/** Group and version of what upstream's configuration has no fields for. */
export const ownApiVersion = 'proxy.deckhand.dev/v1alpha1';
/** Its kind. */
export const ownKind = 'ProxyOptions';

/**
 * Every field of ProxyOptions: what Deckhand's proxy can be told beyond upstream's configuration. It is one more YAML document
 * in the same file, after `---`.
 */
export const ownFields: Readonly<Record<string, ConfigurationField>> = {
  /** Add routes to cluster IPs on a node without a default route. */
  serviceRoutes: { type: 'boolean', default: true },
};
