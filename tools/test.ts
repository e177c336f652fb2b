/**
 * Runs the whole test suite in order: checks, unit tests (in parallel), integration tests (two files at a time), and a leak check at the end. Prints a summary last.
 *
 * Usage: node tools/test.ts [--unit | --integration] [FILE ...]
 */
import { spawn, spawnSync } from 'node:child_process';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
process.chdir(root);
const arguments_ = process.argv.slice(2);
const named = arguments_.filter((one) => !one.startsWith('--'));
const only = arguments_.find((one) => one === '--unit' || one === '--integration');

interface Outcome {
  name: string;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  failures: string[];
}

/** Runs node:test over files, shows what it prints as it comes, and counts what its summary says. */
async function runTests(
  name: string,
  files: string[],
  { concurrency, options = [] }: { concurrency: number; options?: string[] },
): Promise<Outcome> {
  const outcome: Outcome = { name, passed: 0, failed: 0, skipped: 0, seconds: 0, failures: [] };
  if (files.length === 0) return outcome;
  console.log(`\n== ${name}: ${files.length} files`);
  const started = process.hrtime.bigint();
  const run = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      '--test',
      `--test-concurrency=${concurrency}`,
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      '--test-timeout=300000',
      ...options,
      ...files,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  run.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    process.stdout.write(chunk);
    text += chunk;
  });
  const status = await new Promise<number | null>((resolve) => run.on('close', resolve));
  const count = (word: string): number => Number(new RegExp(`^ℹ ${word} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  outcome.passed = count('pass');
  outcome.failed = count('fail') + count('cancelled');
  outcome.skipped = count('skipped') + count('todo');
  if (status !== 0 && outcome.failed === 0) outcome.failed = 1;
  if (outcome.failed > 0) outcome.failures = tellFailures(text);
  outcome.seconds = Number(process.hrtime.bigint() - started) / 1e9;
  return outcome;
}

function runCheck(): Outcome {
  console.log('== check');
  const started = process.hrtime.bigint();
  const run = spawnSync('sh', ['tools/check.sh'], { stdio: 'inherit' });
  const failed = run.status === 0 ? 0 : 1;
  return {
    name: 'check',
    passed: 1 - failed,
    failed,
    skipped: 0,
    seconds: Number(process.hrtime.bigint() - started) / 1e9,
    failures: [],
  };
}

/**
 * What failed tests said, from the reporter's last part (known deviations stand there too, and are left out), so that it
 * is found at the end of a long output.
 */
function tellFailures(text: string): string[] {
  const part = text.slice(Math.max(0, text.lastIndexOf('✖ failing tests:')));
  return part
    .split(/^(?=test at )/m)
    .slice(1)
    .filter((one) => /^test at .*\n✖/.test(one));
}

/** What tests could leave behind: named network namespaces, mounts, processes and rules. */
function snapshot(): Record<string, string[]> {
  const lines = (command: string, ...rest: string[]): string[] =>
    (spawnSync(command, rest, { encoding: 'utf8' }).stdout ?? '').split('\n').filter(Boolean);
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return /^(\S*\/)?(conmon|runc|containerd|containerd-shim\S*)\b/.test(command) ||
          command.includes('src/cli/main.ts')
          ? [`${pid} ${command.slice(0, 120)}`]
          : [];
      } catch {
        return [];
      }
    });
  return {
    'network namespaces': lines('ip', 'netns', 'list'),
    mounts: readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((line) => /overlay|nsfs|tmpfs/.test(line)),
    links: lines('ip', '-o', 'link').map((line) => line.split(':')[1]!.trim()),
    'nftables rules': lines('nft', 'list', 'tables'),
    processes,
  };
}

function checkLeaks(before: Record<string, string[]>): Outcome {
  const after = snapshot();
  const leaks = Object.entries(after).flatMap(([kind, list]) =>
    list.filter((one) => !before[kind]!.includes(one)).map((one) => `${kind}: ${one}`),
  );
  for (const leak of leaks) console.error(`left behind: ${leak}`);
  return {
    name: 'leaks',
    passed: leaks.length === 0 ? 1 : 0,
    failed: leaks.length === 0 ? 0 : 1,
    skipped: 0,
    seconds: 0,
    failures: leaks,
  };
}

const unit = globSync('{src,tools,test/support}/**/*.test.ts').sort();
const integration = globSync('test/{integration,conformance}/**/*.test.ts').sort();
const before = snapshot();
const outcomes: Outcome[] = [];
// A file that leaves something open must not hold up the rest. Unit tests leave nothing, and are counted in full without.
// Two at a time, each in namespaces and directories of its own: they mostly wait.
const integrationOptions = { concurrency: 2, options: ['--test-force-exit'] };
if (named.length > 0) outcomes.push(await runTests('named', named, integrationOptions));
else {
  if (!only) outcomes.push(runCheck());
  if (only !== '--integration') outcomes.push(await runTests('unit', unit, { concurrency: 2 }));
  if (only !== '--unit') outcomes.push(await runTests('integration', integration, integrationOptions));
}
outcomes.push(checkLeaks(before));
const failures = outcomes.filter(({ name }) => name !== 'leaks').flatMap((outcome) => outcome.failures);
if (failures.length > 0) console.log(`\n== failed\n${failures.join('\n')}`);
console.log('\n== summary');
for (const { name, passed, failed, skipped, seconds } of outcomes) {
  console.log(
    `${name.padEnd(12)} ${String(passed).padStart(5)} passed ${String(failed).padStart(4)} failed ${String(skipped).padStart(4)} skipped ${seconds.toFixed(1).padStart(7)} s`,
  );
}
const total = (key: 'passed' | 'failed' | 'skipped'): number =>
  outcomes.reduce((sum, outcome) => sum + outcome[key], 0);
console.log(`${total('passed')} passed, ${total('failed')} failed, ${total('skipped')} skipped`);
process.exit(total('failed') === 0 ? 0 : 1);
