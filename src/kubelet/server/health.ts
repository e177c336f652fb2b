import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { type Asked, sendText } from './answers.ts';
import { ServerError } from './server-error.ts';

/** A check by its name: why the kubelet is not well, or undefined when it is. */
export type Checks = Record<string, () => string | undefined>;

/** The checks that every kubelet has; `syncloop` is the one that can fail. */
export function healthChecks(problem: () => string | undefined): Checks {
  return { ping: () => undefined, log: () => undefined, syncloop: problem };
}

/** `/healthz`, `/healthz?verbose`, `/healthz?exclude=…`, and one check alone as `/healthz/<name>`. */
export function serveHealth(asked: Asked, checks: Checks, metrics?: KubeletMetrics): void {
  const [, name] = asked.parts;
  if (name !== undefined && !checks[name]) throw new ServerError(404, '404 page not found');
  const excluded = new Set(asked.url.searchParams.getAll('exclude'));
  const names = name === undefined ? Object.keys(checks).filter((one) => !excluded.has(one)) : [name];
  const problems = new Map(names.map((one) => [one, checks[one]!()]));
  for (const [one, problem] of problems) note(metrics, one, problem === undefined);
  const failed = [...problems].filter(([, problem]) => problem !== undefined);
  if (failed.length === 0 && (name !== undefined || !asked.url.searchParams.has('verbose')))
    return sendText(asked, 'ok');
  if (name !== undefined) return sendText(asked, `internal server error: ${failed[0]![1]}\n`, 500);
  const lines = [...problems].map(([one, problem]) =>
    problem === undefined ? `[+]${one} ok` : `[-]${one} failed: ${problem}`,
  );
  const end = failed.length === 0 ? 'healthz check passed' : 'healthz check failed';
  sendText(asked, `${lines.join('\n')}\n${end}\n`, failed.length === 0 ? 200 : 500);
}

function note(metrics: KubeletMetrics | undefined, name: string, isWell: boolean): void {
  metrics?.set('kubernetes_healthcheck', isWell ? 1 : 0, { name, type: 'healthz' });
  metrics?.count('kubernetes_healthchecks_total', { name, type: 'healthz', status: isWell ? 'success' : 'error' });
}
