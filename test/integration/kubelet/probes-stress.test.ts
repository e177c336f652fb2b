/** Fifty containers probed each second with a second's time: none is ever restarted wrongly. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Container, Pod } from '../../../src/api/index.ts';
import { pollUntil, systemClock } from '../../../src/async/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { isReady, PodDriver } from '../../support/pod-driver.ts';

const podCount = 10;
const watchedMs = 10_000;

/** One container of each: HTTP, HTTP with a body, TCP, exec with a longer period, HTTP for all three probes. */
function containers(pods: PodDriver): Container[] {
  // Three in a row, as is the default: on a machine with other work a server may itself need more than a second once.
  const often = { periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 3 };
  const server = (name: string, port: number, probes: object): Container =>
    pods.container({
      name,
      script: `mkdir -p /www; echo fine > /www/index.html; trap "exit 0" TERM; httpd -f -p ${port} -h /www & wait`,
      startupProbe: { tcpSocket: { port }, periodSeconds: 1, failureThreshold: 60 },
      ...probes,
    });
  const httpGet = (port: number) => ({ ...often, httpGet: { path: '/', port } });
  return [
    server('http', 8001, { livenessProbe: httpGet(8001) }),
    server('both', 8002, { livenessProbe: httpGet(8002), readinessProbe: httpGet(8002) }),
    server('tcp', 8003, { livenessProbe: { ...often, tcpSocket: { port: 8003 } } }),
    server('exec', 8004, {
      livenessProbe: { ...often, periodSeconds: 10, timeoutSeconds: 5, exec: { command: ['true'] } },
    }),
    server('ready', 8005, { livenessProbe: httpGet(8005), readinessProbe: { ...often, tcpSocket: { port: 8005 } } }),
  ];
}

describe('many probes', () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let pods: PodDriver;

  before(async () => {
    cluster = await Cluster.start('kstress', ['--place', 'kubelet=process']);
    registry = await DemoRegistry.start(cluster.namespace);
    pods = await PodDriver.start(cluster, registry.image('v1'));
  });
  after(async () => {
    await pods?.stop();
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  test('fifty containers probed each second are never restarted, nor unready', async () => {
    const names = Array.from({ length: podCount }, (_, i) => `many-${i}`);
    await Promise.all(names.map((name) => pods.create(name, { containers: containers(pods) })));
    await Promise.all(names.map((name) => pods.untilReady(name, 60_000)));
    const from = new Map(names.map((name) => [name, pods.history.get(name)!.length - 1]));
    const end = systemClock.monotonic() + watchedMs;
    await pollUntil('some time of probing', () => systemClock.monotonic() > end, { timeoutMs: watchedMs * 2 });
    for (const name of names) {
      const since = pods.history.get(name)!.slice(from.get(name)) as Pod[];
      const restarted = since.at(-1)?.status?.containerStatuses?.filter(({ restartCount }) => restartCount > 0) ?? [];
      assert.deepEqual(
        restarted.map((one) => one.name),
        [],
        `${name}: ${JSON.stringify(pods.events(name))}`,
      );
      assert.ok(since.every(isReady), `${name} was not always Ready`);
    }
  });
});
