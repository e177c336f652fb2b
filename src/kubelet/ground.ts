import type { Clock } from '../async/index.ts';
import type { ApiClient } from '../client/index.ts';
import type { Logger } from '../log/index.ts';
import type { KubeletSettings } from './config/settings.ts';
import type { KubeletMetrics } from './metrics/kubelet-metrics.ts';
import type { RuntimeClient } from './pods/runtime-client.ts';

/** What the parts are made from. */
export interface Ground {
  settings: KubeletSettings;
  api: ApiClient | undefined;
  /** The API server for signs of life and events, which have no limit or another one. */
  heartbeat: ApiClient | undefined;
  client: RuntimeClient;
  metrics: KubeletMetrics;
  /** What the runtime says about itself. */
  runtime: { name: string; cgroupDriver: 'cgroupfs' | 'systemd' | undefined };
  signal: AbortSignal;
  log: Logger;
  clock: Clock;
}

/** What works beside the pods: started before they come, stopped after they were let go. */
export interface Companion {
  start(): Promise<void> | void;
  stop(): Promise<void> | void;
}
