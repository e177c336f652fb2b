import { type Pod, resources } from '../api/index.ts';
import type { Clock } from '../async/index.ts';
import { type ApiClient, createClient, isNotFound, loadKubeconfig } from '../client/index.ts';
import type { PodTimeline } from '../kubelet/index.ts';
import type { Logger } from '../log/index.ts';
import { connect } from './cluster-access.ts';

/** Where the timeline of a pod is asked for. */
export interface TimelineQuery {
  namespace: string;
  pod: string;
  /** An instance of this machine. */
  dataDirectory: string;
  /** Any other cluster whose nodes run our kubelet. */
  kubeconfig?: string;
}

/**
 * Asks the kubelet of a pod's node, through the API server, when each step of the pod's life happened. The newest pod
 * of that name, also one that has gone already. @throws Error when nobody knows it
 */
export async function fetchTimeline(
  { namespace, pod, dataDirectory, kubeconfig }: TimelineQuery,
  context: { log: Logger; clock: Clock },
): Promise<PodTimeline> {
  const client = kubeconfig
    ? createClient({ ...(await loadKubeconfig(kubeconfig)), userAgent: 'deckhand' }, context)
    : await connect(dataDirectory, context);
  try {
    const found = await client.get<Pod>(resources.pods, pod, { namespace }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (found && !found.spec.nodeName) throw new Error(`pod ${namespace}/${pod} is not on a node yet`);
    const nodes = found ? [found.spec.nodeName!] : await nodeNames(client);
    for (const node of nodes) {
      const timelines = await askNode(client, node, namespace, pod);
      const own = timelines.filter(({ podUid }) => !found || podUid === found.metadata.uid);
      const newest = own.at(-1);
      if (newest) return newest;
    }
    const who = found ? `the kubelet of node ${nodes[0]} knows no steps of` : 'no kubelet knows';
    throw new Error(`${who} pod ${namespace}/${pod}: it keeps those of the last 500 pods, since it was started`);
  } finally {
    client.close();
  }
}

async function nodeNames(client: ApiClient): Promise<string[]> {
  return (await client.list(resources.nodes)).items.map(({ metadata }) => metadata.name);
}

async function askNode(client: ApiClient, node: string, namespace: string, pod: string): Promise<PodTimeline[]> {
  const query = `namespace=${encodeURIComponent(namespace)}&pod=${encodeURIComponent(pod)}`;
  const path = `/api/v1/nodes/${encodeURIComponent(node)}/proxy/debug/timeline?${query}`;
  try {
    const { body } = await client.request('GET', path, { timeoutMs: 10_000 });
    return JSON.parse(body.toString()) as PodTimeline[];
  } catch (cause) {
    throw new Error(`the kubelet of node ${node} does not tell its timelines (is it Deckhand's?)`, { cause });
  }
}

/** A timeline as a table for people. Steps overlap: each stands where it ended. */
export function formatTimeline({ namespace, name, seenAt, steps }: PodTimeline): string {
  const ms = (value: number | undefined) => (value === undefined ? '' : value.toFixed(1));
  const rows = steps.map(({ step, atMs, durationMs, container = '', detail = '', failed }) => [
    ms(atMs),
    ms(durationMs),
    step,
    container,
    failed ? `failed${detail ? `: ${detail}` : ''}` : detail,
  ]);
  const head = ['AT MS', 'TOOK MS', 'STEP', 'CONTAINER', 'WHAT'];
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (row: string[]) =>
    row
      .map((cell, i) => (i < 2 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  const title = `pod ${namespace}/${name}, seen by its kubelet at ${new Date(seenAt).toISOString()}`;
  return [title, '', line(head), ...rows.map(line)].join('\n');
}
