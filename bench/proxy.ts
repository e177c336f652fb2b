/**
 * Measures the proxy alone, in a network namespace of its own: start with N Services of E endpoints each until the
 * kernel holds all of them, then one more Service and one changed endpoint at a time. Prints figures as JSON.
 *
 * Usage: node bench/proxy.ts [--services 5000] [--endpoints 2] [--mode nftables|iptables] [--rounds 50]
 */
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { NetworkNamespace } from '../test/support/network-namespace.ts';
import { ProxyDriver } from '../test/support/proxy-network.ts';
import type { Figure } from './report.ts';

const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '5000' },
    endpoints: { type: 'string', default: '2' },
    mode: { type: 'string', default: 'nftables' },
    rounds: { type: 'string', default: '50' },
  },
});
const services = Number(values.services);
const endpoints = Number(values.endpoints);
const rounds = Number(values.rounds);

function objects(index: number, shift = 0): object[] {
  const name = `service-${index}`;
  const clusterIP = `10.${96 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
  const address = (at: number) => `10.${128 + ((at >> 16) & 63)}.${(at >> 8) & 255}.${at & 255}`;
  const ports = [{ name: 'main', protocol: 'TCP', port: 80 }];
  return [
    { service: { metadata: { namespace: 'bench', name }, spec: { type: 'ClusterIP', clusterIP, ports } } },
    {
      slice: {
        metadata: { namespace: 'bench', name: `${name}-x`, labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        ports: [{ name: 'main', protocol: 'TCP', port: 8080 }],
        endpoints: Array.from({ length: endpoints }, (_, slot) => ({
          addresses: [address(index * endpoints + slot + shift)],
          nodeName: 'another',
          conditions: { ready: true },
        })),
      },
    },
  ];
}

/** Sends one change and gives the milliseconds until the kernel holds it. */
async function change(proxy: ProxyDriver, messages: readonly object[]): Promise<number> {
  const begin = performance.now();
  for (const message of messages) proxy.send(message);
  await proxy.ask({ sync: 1 });
  return performance.now() - begin;
}

function quantile(sorted: readonly number[], share: number): number {
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return Math.round(value * 100) / 100;
}

async function measure(): Promise<Figure[]> {
  await using namespace = await NetworkNamespace.create('bench-proxy');
  await using proxy = new ProxyDriver(namespace, {
    mode: values.mode,
    detectLocal: { kind: 'cidr', cidrs: ['10.128.0.0/10'] },
    serviceRoutes: false,
  });
  for (let index = 0; index < services; index++) for (const message of objects(index)) proxy.send(message);
  await proxy.ask({ sync: 0 });
  const started = await proxy.ask({ start: true });
  const more: number[] = [];
  const changed: number[] = [];
  for (let round = 0; round < rounds; round++) more.push(await change(proxy, objects(services + round)));
  for (let round = 0; round < rounds; round++) changed.push(await change(proxy, objects(round, 1).slice(1)));
  const { rss } = await proxy.ask({ sync: 1 });
  await proxy.ask({ stop: true, remove: true });
  more.sort((a, b) => a - b);
  changed.sort((a, b) => a - b);
  const room = `Proxy, ${values.mode}, ${services} Services × ${endpoints}`;
  const both = (samples: readonly number[]) =>
    `p50 ${quantile(samples, 0.5)} ms, p99 ${quantile(samples, 0.99)} ms (n=${samples.length})`;
  const fast = values.mode === 'nftables' ? 'p50 ≤ 10 ms, p99 ≤ 30 ms' : 'p50 ≤ 400 ms';
  return [
    {
      what: `${room}: start → all in the kernel`,
      result: `${Math.round(started.ms)} ms`,
      target: values.mode === 'nftables' ? '≤ 1.0 s at 5,000' : '≤ 8 s at 5,000',
    },
    { what: `${room}: one more Service → in the kernel`, result: both(more), target: fast },
    { what: `${room}: endpoints of one Service changed → in the kernel`, result: both(changed), target: fast },
    { what: `${room}: memory`, result: `${Math.round(rss / 1e6)} MB`, target: '≤ 110 MB at 5,000' },
  ];
}

for (const figure of await measure()) console.log(JSON.stringify(figure));
