import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { percentile } from '../../../bench/statistics.ts';

/** One file that critest writes: how long each operation of each sample took, nanoseconds. */
interface BenchmarkFile {
  operationsNames: string[];
  numParallel: number;
  datapoints: { operationsDurationsNs: number[] }[];
}

const outputFlag = 'benchmarking-output-dir';
const parametersFlag = 'benchmarking-params-file';

/** The flags that make critest's benchmarks run with numbers and keep them, as far as they are not given. */
export async function benchmarkFlags(directory: string, given: readonly string[]): Promise<string[]> {
  const flags: string[] = [];
  if (!flagValue(given, parametersFlag))
    flags.push(`--${parametersFlag}=${join(import.meta.dirname, 'benchmark.yaml')}`);
  if (!flagValue(given, outputFlag)) {
    const results = join(directory, 'benchmarks');
    await mkdir(results);
    flags.push(`--${outputFlag}=${results}`);
  }
  return flags;
}

/** Prints the median and the 99th percentile of every operation, which critest leaves to its reader. */
export async function printBenchmarks(flags: readonly string[]): Promise<void> {
  const directory = flagValue(flags, outputFlag)!;
  console.log(`\n${'operation'.padEnd(60)} samples parallel   p50 ms   p99 ms`);
  for (const name of (await readdir(directory)).filter((one) => one.endsWith('.json')).sort()) {
    const { operationsNames, numParallel, datapoints } = JSON.parse(
      await readFile(join(directory, name), 'utf8'),
    ) as BenchmarkFile;
    operationsNames.forEach((operation, index) => {
      const times = datapoints.map(({ operationsDurationsNs }) => operationsDurationsNs[index]! / 1e6);
      const row = [String(times.length).padStart(7), String(numParallel).padStart(8)];
      for (const share of [0.5, 0.99]) row.push(percentile(times, share).toFixed(1).padStart(8));
      console.log(`${`${name.replace(/\.json$/, '')}: ${operation}`.padEnd(60)} ${row.join(' ')}`);
    });
  }
}

/** The value of `--name=value` or `--name value`. */
function flagValue(flags: readonly string[], name: string): string | undefined {
  const index = flags.findIndex((flag) => new RegExp(`^--?${name}(=|$)`).test(flag));
  return index < 0 ? undefined : (/=(.*)$/.exec(flags[index]!)?.[1] ?? flags[index + 1]);
}
