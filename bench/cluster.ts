import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiClient, createClient, loadKubeconfig } from '../src/client/index.ts';

const deckhand = join(import.meta.dirname, '../bin/deckhand');

/** Where the components run: `BENCH_PLACE=all=process`; the command's own choice without it. */
const placement = process.env['BENCH_PLACE'] ? ['--place', process.env['BENCH_PLACE']] : [];

/** A cluster under measurement, in the network namespace of this process. */
export class BenchCluster {
  readonly dataDirectory = mkdtempSync(join(tmpdir(), 'dh-bench-'));
  client!: ApiClient;

  /** Starts it and gives the time from the command to the node Ready, milliseconds. */
  async up(options: string[] = []): Promise<number> {
    const before = performance.now();
    const run = spawnSync(
      deckhand,
      ['up', '--detach', '--data-dir', this.dataDirectory, '--node-name', 'bench', ...options, ...placement],
      { encoding: 'utf8' },
    );
    const ms = performance.now() - before;
    if (run.status !== 0) throw new Error(`deckhand up: ${run.stderr}${run.stdout}`);
    this.client = createClient(await loadKubeconfig(join(this.dataDirectory, 'admin.conf')));
    return ms;
  }

  down(): void {
    this.client?.close();
    spawnSync(deckhand, ['down', '--data-dir', this.dataDirectory]);
  }

  remove(): void {
    rmSync(this.dataDirectory, { recursive: true, force: true });
  }

  /** The processes of the cluster: those whose command line or parent names the data directory. */
  processes(): { pid: number; command: string; residentBytes: number; cpuSeconds: number }[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
          if (!command.includes(this.dataDirectory) || !/main\.ts|bin\/deckhand/.test(command)) return [];
          const resident =
            Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1] ?? 0) * 1024;
          const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
          const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
          return [
            {
              pid: Number(name),
              command,
              residentBytes: resident,
              cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
            },
          ];
        } catch {
          return [];
        }
      });
  }
}
