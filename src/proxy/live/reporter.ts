import type { Clock } from '../../async/index.ts';
import { type ApiClient, createEventRecorder, type EventRecorder } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { ProblemLog } from '../explain/state.ts';
import type { ProxyMetrics } from '../health/metrics.ts';

/** Tells what happens: events on the Node and on Services, metrics, and the list that `deckhand proxy status` shows. */
export class Reporter {
  readonly problems = new ProblemLog();
  readonly #metrics: ProxyMetrics;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: EventRecorder | undefined;
  readonly #nodeName: () => string;

  constructor(
    client: ApiClient | undefined,
    nodeName: () => string,
    { metrics, clock, log }: { metrics: ProxyMetrics; clock: Clock; log: Logger },
  ) {
    this.#metrics = metrics;
    this.#clock = clock;
    this.#log = log;
    this.#nodeName = nodeName;
    this.#events = client && createEventRecorder(client, { component: 'kube-proxy', host: nodeName(), log, clock });
  }

  /** An event on the Node. */
  node(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#events?.event({ apiVersion: 'v1', kind: 'Node', name: this.#nodeName() }, type, reason, message);
  }
  /** Something is wrong with a Service (`namespace/name`). */
  service(service: string, reason: string, message: string): void {
    this.problems.add(service, reason, message, this.#clock.now());
    this.#metrics.problems.inc({ reason });
    const [namespace = '', name = ''] = service.split('/');
    this.#events?.event({ apiVersion: 'v1', kind: 'Service', namespace, name }, 'Warning', reason, message);
  }
  /** A configuration was taken over, or refused for a reason. */
  configuration(refused?: unknown): void {
    this.#metrics.configurationLoads.inc({ result: refused ? 'refused' : 'applied' });
    this.#metrics.configurationGood.set(refused ? 0 : 1);
    if (!refused) {
      this.#log.info('configuration taken over');
      return this.node('Normal', 'ConfigurationChanged', 'the configuration was taken over');
    }
    this.#log.error('configuration refused; what was in effect stays', { error: refused });
    this.node('Warning', 'ConfigurationRefused', (refused as Error).message);
  }
  flush(): Promise<void> {
    return this.#events?.flush() ?? Promise.resolve();
  }
}
