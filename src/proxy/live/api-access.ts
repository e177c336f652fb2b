import { type Clock, TokenBucket } from '../../async/index.ts';
import {
  type ApiClient,
  type ClientConfig,
  createClient,
  loadInClusterConfig,
  loadKubeconfig,
} from '../../client/index.ts';
import { followFiles } from '../../host/files/index.ts';
import type { Logger } from '../../log/index.ts';
import type { ClientConnection } from '../configuration.ts';

/** How long the kubeconfig and the files that it names must be left alone before they are read again, milliseconds. */
const settleMs = 100;
/** Requests a second that stand for no limit. */
const unlimited = 1e9;

/** A connection to the API server that outlives its credentials, its address and its limits. */
export interface ApiAccess {
  readonly client: ApiClient;
  /** Takes another kubeconfig or other limits. @throws when the kubeconfig cannot be read: all stays as it was */
  change(connection: ClientConnection): Promise<void>;
  stop(): void;
}

/**
 * Reads a kubeconfig (or what a pod is given), connects, and follows the files: what is replaced in them is used for what is
 * sent from then on.
 * @param master the API server's address, in place of the kubeconfig's
 * @throws Error naming the kubeconfig and what is wrong with it
 */
export async function openApiAccess(
  connection: ClientConnection,
  master: string | undefined,
  { log, clock }: { log: Logger; clock: Clock },
): Promise<ApiAccess> {
  const read = async ({ kubeconfig }: ClientConnection): Promise<ClientConfig> => ({
    ...(kubeconfig ? await loadKubeconfig(kubeconfig) : await loadInClusterConfig(process.env)),
    ...(master ? { server: master } : {}),
    userAgent: 'kube-proxy/v1.36.2 (deckhand)',
  });
  const abort = new AbortController();
  const bucket = new TokenBucket({ ...limitsOf(connection), clock });
  let current = connection;
  let config = await read(connection);
  const unlimitedClient = createClient(config, { clock });
  const client = unlimitedClient.limited(bucket);
  const take = async (next: ClientConnection): Promise<void> => {
    const found = await read(next);
    current = next;
    if (JSON.stringify(found) === JSON.stringify(config)) return;
    config = found;
    unlimitedClient.reconfigure(found);
  };
  void followFiles(
    () => config.files ?? [],
    () => take(current),
    { what: 'kubeconfig', clock, log, signal: abort.signal, settleMs },
  );
  return {
    client,
    change: async (next) => {
      await take(next);
      bucket.change(limitsOf(next));
    },
    stop: () => abort.abort(new Error('proxy stopped')),
  };
}

/** As upstream: a negative rate is none. */
function limitsOf({ qps, burst }: ClientConnection): { perSecond: number; burst: number } {
  return qps < 0 ? { perSecond: unlimited, burst: unlimited } : { perSecond: qps, burst };
}
