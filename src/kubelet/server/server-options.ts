import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import type { Level, Logger } from '../../log/index.ts';
import type { HttpServer, ServerTls } from '../../wire/http/index.ts';
import type { KubeletSettings } from '../config/settings.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { PodDirectory } from '../pods/ports.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import type { Statistics } from '../statistics/index.ts';

/** What the kubelet's server needs. */
export interface KubeletServerOptions {
  settings: KubeletSettings;
  client: ApiClient | undefined;
  runtime: RuntimeClient;
  cache: RuntimeCache;
  pods: PodDirectory;
  statistics: Statistics;
  metrics: KubeletMetrics;
  /** As in `v1.36.2`. */
  version: string;
  /** PEM: the server's certificate and key, and who signs clients' certificates. */
  tls: ServerTls;
  /** The certificate that is shown now, PEM. */
  certificate?: () => string | Buffer | undefined;
  /** Told of the server before it listens: certificates may change. */
  onServer?: (server: HttpServer) => void;
  /** Why the kubelet is not well, for /healthz; undefined when it is. */
  problem: () => string | undefined;
  /** Changes how much is logged; missing where components share it. */
  setLogLevel?: (level: Level) => void;
  log: Logger;
  clock: Clock;
}
