import { copyFile, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Node, resources } from '../api/index.ts';
import { type Clock, pollUntil } from '../async/index.ts';
import { type ApiClient, createClient, loadKubeconfig } from '../client/index.ts';
import type { Logger } from '../log/index.ts';
import { clusterDomain } from './arguments.ts';
import { instancePaths } from './instance.ts';
import { addressInRange, type UpOptions } from './up-options.ts';

/** Makes the certificates, keys and kubeconfigs of an instance, or keeps those that are there and still good. */
export async function preparePki(options: UpOptions, nodeIp: string, clock: Clock): Promise<void> {
  const { ensurePki } = await import('../controlplane/index.ts');
  const paths = instancePaths(options.dataDirectory);
  const serviceIp = addressInRange(options.serviceCidr, 1);
  const names = [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    `kubernetes.default.svc.${clusterDomain}`,
    'localhost',
    options.nodeName,
  ];
  const listen = options.listen.host === '0.0.0.0' ? [] : [options.listen.host];
  await ensurePki(paths.pki, {
    clusterName: 'deckhand',
    nodeName: options.nodeName,
    server: `https://${listen[0] ?? '127.0.0.1'}:${options.listen.port}`,
    serverNames: names,
    serverAddresses: [...new Set(['127.0.0.1', serviceIp, nodeIp, ...listen])],
    nodeAddresses: [...new Set([nodeIp, '127.0.0.1'])],
    clock,
  });
  await writeUsersKubeconfig(join(paths.pki, 'admin.conf'), paths.kubeconfig);
  if (options.kubeconfig) await copyFile(paths.kubeconfig, options.kubeconfig);
}

/** The administrator's kubeconfig as people expect it, in YAML; written when it is not there or older than the other one. */
async function writeUsersKubeconfig(source: string, target: string): Promise<void> {
  const [from, to] = await Promise.all([stat(source), stat(target).catch(() => undefined)]);
  if (to && to.mtimeMs >= from.mtimeMs) return;
  const { stringify } = await import('yaml');
  await writeFile(target, stringify(JSON.parse(await readFile(source, 'utf8'))), { mode: 0o600 });
}

/** A client with the administrator's rights. */
export async function connect(dataDirectory: string, context: { log: Logger; clock: Clock }): Promise<ApiClient> {
  const config = await loadKubeconfig(join(instancePaths(dataDirectory).pki, 'admin.conf'));
  return createClient({ ...config, userAgent: 'deckhand' }, context);
}

/** Resolves when the node has the condition Ready. @throws DeadlineError after a minute */
export async function waitForReadyNode(client: ApiClient, nodeName: string, clock: Clock): Promise<void> {
  await pollUntil(
    `node ${nodeName} Ready`,
    async () => {
      const node = await client.get(resources.nodes, nodeName).catch(() => undefined);
      return node !== undefined && isNodeReady(node);
    },
    { timeoutMs: 60_000, intervalMs: 20, clock },
  );
}

/** Whether a Node has the condition Ready. */
export function isNodeReady(node: Node): boolean {
  return node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** Resident memory of a process, bytes; 0 when it does not exist. */
export async function residentBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}
