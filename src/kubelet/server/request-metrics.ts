import type { Duplex } from 'node:stream';
import type { Clock } from '../../async/index.ts';
import type { IncomingMessage, ServerResponse } from '../../wire/http/index.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';

const methods = new Set(['OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT']);
const paths = new Set(
  `healthz pods stats metrics metrics/cadvisor metrics/probes metrics/resource run exec attach portForward containerLogs
   configz runningpods checkpoint logs debug statusz flagz`.split(/\s+/),
);
const longRunning = new Set(['exec', 'attach', 'portForward', 'debug']);

/** Counts and times the requests of one server. */
export class RequestMetrics {
  readonly #metrics: KubeletMetrics;
  readonly #clock: Clock;
  readonly #serverType: string;

  constructor(metrics: KubeletMetrics, clock: Clock, serverType: 'readwrite' | 'readonly') {
    this.#metrics = metrics;
    this.#clock = clock;
    this.#serverType = serverType;
  }

  /** Follows a request until its answer, or the connection that was made of it, is closed. */
  follow(request: IncomingMessage, end: ServerResponse | Duplex): void {
    const path = bucketOf(request.url ?? '/');
    const labels = {
      method: methods.has(request.method ?? '') ? request.method! : 'other',
      path,
      server_type: this.#serverType,
      long_running: String(longRunning.has(path)),
    };
    const startedAt = this.#clock.monotonic();
    this.#metrics.count('kubelet_http_requests_total', labels);
    this.#metrics.count('kubelet_http_inflight_requests', labels);
    end.once('close', () => {
      this.#metrics.count('kubelet_http_inflight_requests', labels, -1);
      const seconds = (this.#clock.monotonic() - startedAt) / 1000;
      this.#metrics.observe('kubelet_http_requests_duration_seconds', seconds, labels);
    });
  }
}

/** What a path counts as: its first part, or two of them for metrics; what is not served counts as `other`. */
function bucketOf(url: string): string {
  const [first = '', second] = url.split('?')[0]!.split('/').filter(Boolean);
  const path = first === 'metrics' && second !== undefined ? `${first}/${second}` : first;
  return paths.has(path) ? path : 'other';
}
