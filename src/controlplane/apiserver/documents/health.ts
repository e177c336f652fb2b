/** One thing that must be well. */
export interface HealthCheck {
  name: string;
  /** Undefined when well, else what is wrong. */
  check(): string | undefined;
}

/** The answer of `/healthz`, `/livez`, `/readyz` and of `/readyz/{check}`. */
export function answerHealth(
  checks: readonly HealthCheck[],
  path: string,
  query: URLSearchParams,
): { status: number; body: string } | undefined {
  const [, endpoint, one, ...rest] = path.split('/');
  if (!['healthz', 'livez', 'readyz'].includes(endpoint ?? '') || rest.length > 0) return undefined;
  const excluded = new Set(query.getAll('exclude'));
  const chosen = one ? checks.filter(({ name }) => name === one) : checks.filter(({ name }) => !excluded.has(name));
  if (one && chosen.length === 0) return undefined;
  const results = chosen.map(({ name, check }) => ({ name, problem: check() }));
  const failed = results.filter(({ problem }) => problem !== undefined);
  if (failed.length === 0 && !query.has('verbose')) return { status: 200, body: 'ok' };
  const lines = results.map(({ name, problem }) =>
    problem === undefined ? `[+]${name} ok` : `[-]${name} failed: ${problem}`,
  );
  const verdict = failed.length === 0 ? `${endpoint} check passed` : `${endpoint} check failed`;
  return { status: failed.length === 0 ? 200 : 500, body: `${lines.join('\n')}\n${verdict}\n` };
}
