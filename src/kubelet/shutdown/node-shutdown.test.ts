import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { FakeClock } from '../../async/index.ts';
import { createLogger } from '../../log/index.ts';
import { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import { NodeShutdown } from './node-shutdown.ts';

describe('NodeShutdown', () => {
  function make(stateFile?: string) {
    const lines: string[] = [];
    const clock = new FakeClock(1_000_000);
    const metrics = new KubeletMetrics();
    const shutdown = new NodeShutdown({
      ...{ clock, metrics, stateFile, busAddress: 'unix:path=/nowhere/bus', periods: [{ priority: 0, seconds: 5 }] },
      pods: () => [],
      end: async () => {},
      nodeEvent: () => {},
      onChange: () => {},
      log: createLogger('test', (level, _, message) => lines.push(`${level} ${message}`)),
    });
    return { shutdown, clock, metrics, lines };
  }

  it('without a bus says so once, tries again, and holds nothing up', async () => {
    const { shutdown, clock, lines } = make();
    await shutdown.start();
    await clock.advance(300_000);
    assert.deepEqual(
      lines.filter((line) => line.startsWith('warn')),
      ['warn no graceful shutdown of the node: logind cannot be asked to wait'],
    );
    assert.equal(shutdown.admit(), undefined);
    assert.equal(shutdown.problem, undefined);
    shutdown.stop();
  });

  it('remembers the last shutdown', async () => {
    const root = await mkdtemp(join(tmpdir(), 'dh-shutdown-'));
    try {
      const file = join(root, 'graceful_node_shutdown_state');
      await writeFile(file, '{"startTime":"2026-01-01T00:00:00Z","endTime":"0001-01-01T00:00:00Z"}');
      const { shutdown, metrics } = make(file);
      await shutdown.start();
      shutdown.stop();
      const families = JSON.stringify(await metrics.read('metrics'));
      assert.match(families, new RegExp(String(Date.parse('2026-01-01T00:00:00Z') / 1000)));
      assert.match(await readFile(file, 'utf8'), /2026/);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
});
