import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import type { Outcome } from './behaviour.ts';
import type { Deviations } from './deviations.ts';

/** The command that runs the suite; it needs CRI_ENDPOINT. CRI_ONLY, a regular expression, picks behaviours. */
export const suiteCommand: readonly string[] = [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  join(import.meta.dirname, 'main.ts'),
  ...(process.env['CRI_ONLY'] ? ['--only', process.env['CRI_ONLY']] : []),
];

/**
 * Runs the suite as a program (inside of a network namespace, of another kernel …) and makes each outcome a subtest.
 * What is known to deviate fails as a "todo", with its reason.
 */
export async function reportSuite(
  t: TestContext,
  argv: readonly string[],
  environment: Record<string, string>,
  deviations: Deviations = {},
): Promise<Outcome[]> {
  const [program, ...rest] = argv as [string, ...string[]];
  const child = spawn(program, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  const said: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (said.push(line) > 30) said.shift();
  });
  const closed = once(child, 'close');
  const outcomes: Outcome[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{')) {
      said.push(line);
      continue;
    }
    const outcome = JSON.parse(line) as Outcome;
    outcomes.push(outcome);
    await report(t, outcome, deviations);
  }
  const [status] = (await closed) as [number | null];
  if (outcomes.length === 0) throw new Error(`the suite ended with status ${status} and said:\n${said.join('\n')}`);
  for (const name of Object.keys(deviations))
    if (!outcomes.some((one) => `${one.topic}: ${one.name}` === name))
      t.diagnostic(`known deviation of nothing: ${name}`);
  return outcomes;
}

async function report(t: TestContext, outcome: Outcome, deviations: Deviations): Promise<void> {
  const name = `${outcome.topic}: ${outcome.name}`;
  const known = deviations[name];
  await t.test(`${name} (${outcome.milliseconds} ms)`, (one) => {
    if (outcome.state === 'skipped') return one.skip(outcome.reason);
    if (known && outcome.state === 'passed') one.diagnostic(`no longer deviates: ${known}`);
    if (outcome.state === 'passed') return;
    if (known) one.todo(known);
    throw new Error(outcome.reason);
  });
}
