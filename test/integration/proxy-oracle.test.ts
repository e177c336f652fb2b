/**
 * The same objects and packets for upstream's kube-proxy, to compare what becomes of them. Needs its program: KUBE_PROXY.
 * Differences are told, not failed: docs/proxy.md says which there are. ORACLE_OUTPUT: a file for all of them.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import type { PacketCase } from '../../src/proxy/testing/packet-case.ts';
import { bySettings, packetCases, servicesOf, spreadOf } from '../../src/proxy/testing/packet-cases.ts';
import {
  settings as allSettings,
  nodeAddresses,
  nodeName,
  nodeZone,
  podCidrs,
  type Settings,
  type SettingsName,
  serviceCidrs,
} from '../../src/proxy/testing/packet-network.ts';
import { serviceAddresses, serviceObject, sliceObjects } from '../../src/proxy/testing/service-cases.ts';
import { startTestApiServer, type TestApiServer } from '../support/apiserver.ts';
import { describeObservation, missing, mistakeOf, observe } from '../support/packet-judge.ts';
import { createPacketNetwork, type PacketNetwork } from '../support/packet-network.ts';

const program = process.env['KUBE_PROXY'];
const output = process.env['ORACLE_OUTPUT'];
const chosen = process.env['PACKET_CASES'] === 'all' ? packetCases : spreadOf(packetCases);

for (const mode of ['nftables', 'iptables'] as const)
  test(`packets of the table under upstream's kube-proxy: ${mode}`, {
    skip: !program && 'KUBE_PROXY: no program named',
    timeout: 900_000,
  }, async (t) => {
    const lines: string[] = [];
    for (const [settings, cases] of bySettings(chosen))
      await t.test(settings, async (t) => {
        await using stack = new AsyncDisposableStack();
        const network = stack.use(await createPacketNetwork());
        const tried = cases.filter((one) => missing(network, one) === undefined);
        const server = await startTestApiServer({ extensions: { rules: { services: { selectableFields } } } });
        stack.defer(() => server.stop());
        await createObjects(server, cases);
        await startKubeProxy(stack, network, server, mode, settings, tried);
        const seen = await observe(network, tried);
        const differences = tried.flatMap((one, index) => {
          if (mistakeOf(one, seen[index]!) === undefined) return [];
          const was = describeObservation(one, seen[index]!);
          return [`${mode}: ${one.name}: ours ${JSON.stringify(one.outcome)}, upstream ${was}`];
        });
        lines.push(...differences);
        t.diagnostic(`${tried.length} cases, ${differences.length} end differently`);
        for (const line of differences.slice(0, 40)) t.diagnostic(line);
      });
    if (output) writeFileSync(`${output}-${mode}`, `${lines.join('\n')}\n`);
  });

/** The one thing about Services that the proxy asks of the server: to leave out headless ones. */
function selectableFields({ spec = {} }: { spec?: { clusterIP?: string } }): Record<string, string> {
  return { 'spec.clusterIP': spec.clusterIP ?? '' };
}

async function createObjects(server: TestApiServer, cases: readonly PacketCase[]): Promise<void> {
  const post = (path: string, body: object, method = 'POST') => send(server, method, path, body);
  await post('/api/v1/namespaces', { metadata: { name: 'test' } });
  const addresses = [nodeAddresses[4], nodeAddresses[6]].map((address) => ({ type: 'InternalIP', address }));
  const node = { metadata: { name: nodeName, labels: { 'topology.kubernetes.io/zone': nodeZone } } };
  await post('/api/v1/nodes', { ...node, status: { addresses } });
  await post(`/api/v1/nodes/${nodeName}/status`, { ...node, status: { addresses } }, 'PUT');
  await post('/apis/networking.k8s.io/v1/servicecidrs', {
    metadata: { name: 'kubernetes' },
    spec: { cidrs: serviceCidrs },
  });
  for (const one of servicesOf(cases)) {
    const {
      uid: _uid,
      resourceVersion: _version,
      ...metadata
    } = serviceObject(one).metadata as unknown as Record<string, unknown>;
    const service = { ...serviceObject(one), metadata };
    // The bare server fills in no defaults.
    if (service.spec?.sessionAffinity === 'ClientIP')
      service.spec.sessionAffinityConfig ??= { clientIP: { timeoutSeconds: 10_800 } };
    await post('/api/v1/namespaces/test/services', service);
    if (serviceObject(one).status)
      await post(`/api/v1/namespaces/test/services/${metadata['name']}/status`, service, 'PUT');
    for (const slice of sliceObjects(one))
      await post('/apis/discovery.k8s.io/v1/namespaces/test/endpointslices', slice);
  }
}

function send(server: TestApiServer, method: string, path: string, body: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const call = request(`${server.url}${path}`, { method, ca: server.ca, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (data: string) => {
        text += data;
      });
      answer.on('end', () => ((answer.statusCode ?? 0) < 300 ? resolve() : reject(new Error(`${path}: ${text}`))));
    });
    call.on('error', reject).end(JSON.stringify(body));
  });
}

/** Starts it in the node's namespace; a relay over a unix socket leads from there to the API server. */
async function startKubeProxy(
  stack: AsyncDisposableStack,
  network: PacketNetwork,
  server: TestApiServer,
  mode: string,
  settings: SettingsName,
  cases: readonly PacketCase[],
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'dh-oracle-'));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const run = (argv: string[]) => {
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'ignore', output ? 'inherit' : 'ignore'] });
    stack.defer(() => void child.kill('SIGKILL'));
  };
  const port = new URL(server.url).port;
  const path = join(directory, 'relay');
  run(['socat', `UNIX-LISTEN:${path},fork`, `TCP:127.0.0.1:${port}`]);
  run([...network.node.enter(), 'socat', 'TCP-LISTEN:6443,bind=127.0.0.1,fork,reuseaddr', `UNIX-CONNECT:${path}`]);
  const cluster = {
    server: 'https://127.0.0.1:6443',
    'certificate-authority-data': Buffer.from(server.ca).toString('base64'),
  };
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'it', cluster }],
    users: [{ name: 'it', user: { token: 'x' } }],
    contexts: [{ name: 'it', context: { cluster: 'it', user: 'it' } }],
    'current-context': 'it',
  };
  writeFileSync(join(directory, 'kubeconfig'), JSON.stringify(kubeconfig));
  const config = configurationOf(mode, allSettings[settings], join(directory, 'kubeconfig'));
  writeFileSync(join(directory, 'config'), JSON.stringify(config));
  run([...network.node.enter(), program!, '--config', join(directory, 'config'), '-v', '0']);
  await waitForRules(network, cases);
}

/** Until the last Service that sends pods somewhere does so. */
async function waitForRules(network: PacketNetwork, cases: readonly PacketCase[]): Promise<void> {
  const last = servicesOf(cases).findLast((one) =>
    one.endpoints.some((endpoint) => endpoint.at === 'r1' && endpoint.state === 'ready'),
  );
  const one = cases.find((other) => other.service === last && typeof other.outcome === 'object') ?? cases[0]!;
  const families = [4, 6] as const;
  await pollUntil(
    'the rules are there',
    async () => {
      const calls = families.map((family) => ({
        namespace: network.place('client'),
        protocol: 'TCP' as const,
        address: serviceAddresses(one.service.number, family).clusterIp,
        port: 80,
        patienceMs: 500,
      }));
      return (await network.lab.call(calls)).every((reply) => 'name' in reply);
    },
    { timeoutMs: 40_000 },
  );
}

function configurationOf(mode: string, settings: Settings, kubeconfig: string): object {
  const { detectLocal, masqueradeAll, localhostNodePorts, nodePortAddresses } = settings;
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    hostnameOverride: nodeName,
    clientConnection: { kubeconfig },
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    // All addresses where ours takes all: nftables takes the primary ones by default.
    nodePortAddresses: nodePortAddresses.length > 0 ? nodePortAddresses : ['0.0.0.0/0', '::/0'],
    iptables: { masqueradeAll, localhostNodePorts, minSyncPeriod: '100ms' },
    nftables: { masqueradeAll, minSyncPeriod: '100ms' },
    ...(detectLocal.kind === 'cidr' ? { detectLocalMode: 'ClusterCIDR', clusterCIDR: podCidrs.join() } : {}),
    ...(detectLocal.kind === 'none' ? { detectLocalMode: 'ClusterCIDR', clusterCIDR: '' } : {}),
    ...(detectLocal.kind === 'bridge'
      ? { detectLocalMode: 'BridgeInterface', detectLocal: { bridgeInterface: detectLocal.name } }
      : {}),
    ...(detectLocal.kind === 'interface-prefix'
      ? { detectLocalMode: 'InterfaceNamePrefix', detectLocal: { interfaceNamePrefix: detectLocal.prefix } }
      : {}),
  };
}
