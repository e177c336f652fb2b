import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pollUntil } from '../../src/async/index.ts';
import { chartImages } from './chart-images.ts';
import { Cluster } from './cluster.ts';
import { output } from './processes.ts';

const directory = join(import.meta.dirname, '../integration/charts');

/** Charts that are not in a namespace of their own name. */
const namespaces: Record<string, string> = {
  'fluent-bit': 'logging',
  'kube-state-metrics': 'ksm',
  'metrics-server': 'kube-system',
  'web-app': 'shop',
};

/** A cluster with all charts applied to it. */
export class Charts implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly ingressDigest: string;
  readonly namespaces: string[];
  #snapshot: Promise<any[]> | undefined;
  #taken = 0;

  private constructor(cluster: Cluster, ingressDigest: string, namespacesOfAll: string[]) {
    this.cluster = cluster;
    this.ingressDigest = ingressDigest;
    this.namespaces = namespacesOfAll;
  }

  /** Starts the cluster, gives it the images and applies every chart. */
  static async start(): Promise<Charts> {
    const cluster = await Cluster.start('charts');
    try {
      const { archive, ingressDigest } = await chartImages();
      const file = join(cluster.dataDirectory, 'images.tar');
      await writeFile(file, archive);
      const imported = await cluster.deckhand(['image', 'import', file, '--data-dir', cluster.dataDirectory]);
      if (imported.status !== 0) throw new Error(imported.stderr);
      const names = (await readdir(directory))
        .filter((name) => name.endsWith('.yaml'))
        .map((name) => name.slice(0, -5));
      const spaces = names.map((name) => namespaces[name] ?? name);
      const charts = new Charts(cluster, ingressDigest, spaces);
      const objects = spaces
        .filter((name) => name !== 'kube-system')
        .map((name) => JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
      await cluster.kubectl(['create', '-f', '-'], { input: objects.join('\n') });
      const waiting = names.map((name, at) => async () => charts.#apply(name, spaces[at]!));
      await Promise.all(
        [1, 2, 3].map(async () => {
          for (let next = waiting.shift(); next; next = waiting.shift()) await next();
        }),
      );
      return charts;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Unchanged but for two words: the digest of a stand-in, and where this test's node has its logs (not at /var/log, as many share a machine). */
  async #apply(chart: string, namespace: string): Promise<void> {
    // Where the machine's root takes no part in propagation, as in a container, users of such a chart switch it off.
    const shared = (await output(['findmnt', '--noheadings', '--output', 'PROPAGATION', '/'])).trim() !== 'private';
    const text = (await readFile(join(directory, `${chart}.yaml`), 'utf8'))
      .replace(/mountPropagation: HostToContainer, /, (found) => (shared ? found : ''))
      .replace(/sha256:0{64}/, this.ingressDigest)
      .replaceAll('path: /var/log', `path: ${this.cluster.dataDirectory}/logs`);
    await this.cluster.kubectl(['apply', '-n', namespace, '-f', '-'], { input: text });
  }

  kubectl(namespace: string, ...argv: string[]): Promise<string> {
    return this.cluster.kubectl(['-n', namespace, ...argv]);
  }

  async list(namespace: string, ...argv: string[]): Promise<any[]> {
    return (await this.cluster.get('-n', namespace, ...argv)).items;
  }

  pod(namespace: string, name: string): Promise<any> {
    return this.cluster.get('-n', namespace, 'pod', name);
  }

  /** The first pod with these labels. */
  async podOf(namespace: string, selector: string): Promise<string> {
    const found = (await this.list(namespace, 'pods', '-l', selector)).find(
      ({ metadata }) => !metadata.deletionTimestamp,
    );
    if (!found) throw new Error(`no pod in ${namespace} with ${selector}`);
    return found.metadata.name;
  }

  /** Runs a shell command in a pod. */
  sh(namespace: string, pod: string, script: string, container = '', directoryInside = '/'): Promise<string> {
    const inside = `cd ${directoryInside} && ${script}`;
    return this.kubectl(namespace, 'exec', pod, ...(container ? ['-c', container] : []), '--', 'sh', '-c', inside);
  }

  logs(namespace: string, pod: string, container = ''): Promise<string> {
    return this.kubectl(namespace, 'logs', pod, ...(container ? ['-c', container] : []));
  }

  deletePod(namespace: string, pod: string): Promise<string> {
    return this.kubectl(namespace, 'delete', 'pod', pod, '--wait', '--timeout=60s');
  }

  /** Waits until all workloads of a namespace are as they should be and its claims are bound. */
  async settled(namespace: string): Promise<void> {
    let missing: string[] = [];
    await this.until(
      `all of ${namespace}`,
      async () => {
        const all = (await this.#workloads()).filter(({ metadata }) => metadata.namespace === namespace);
        missing = all.flatMap((one) => (isSettled(one) ? [] : [`${one.kind} ${one.metadata.name}`]));
        return all.length > 0 && missing.length === 0;
      },
      90_000,
    ).catch(async (error: Error) => {
      const { stdout } = await this.cluster.tryKubectl(['-n', namespace, 'get', 'pods,events', '-o', 'wide']);
      throw new Error(`${error.message}: ${missing.join(', ')}\n${stdout}`);
    });
  }

  /** What all tests wait for, asked once for all of them. */
  #workloads(): Promise<any[]> {
    const now = performance.now();
    if (!this.#snapshot || now - this.#taken > 500) {
      this.#taken = now;
      this.#snapshot = this.cluster
        .get('deployments,statefulsets,daemonsets,jobs,persistentvolumeclaims', '--all-namespaces')
        .then(({ items }) => items);
    }
    return this.#snapshot;
  }

  /** Deletes all charts with their namespaces, and waits until they are gone. */
  async remove(): Promise<void> {
    const gone = ['--wait', '--timeout=100s', '--ignore-not-found'];
    const limit = { timeoutMs: 110_000 };
    await this.cluster.kubectl(['delete', '-f', join(directory, 'metrics-server.yaml'), ...gone], limit);
    const spaces = this.namespaces.filter((name) => name !== 'kube-system');
    await this.cluster.kubectl(['delete', 'namespaces', ...spaces, ...gone], limit);
  }

  until(what: string, probe: () => Promise<boolean>, timeoutMs = 60_000): Promise<boolean> {
    return pollUntil(what, probe, { timeoutMs, intervalMs: 500 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
  }
}

function isSettled({ kind, metadata, spec, status = {} }: any): boolean {
  if (kind === 'PersistentVolumeClaim') return status.phase === 'Bound';
  if (kind === 'Job')
    return (status.conditions ?? []).some((one: any) => one.type === 'Complete' && one.status === 'True');
  if (status.observedGeneration !== metadata.generation) return false;
  if (kind === 'DaemonSet')
    return status.desiredNumberScheduled > 0 && status.numberReady === status.desiredNumberScheduled;
  return (status.readyReplicas ?? 0) === spec.replicas && (status.replicas ?? 0) === spec.replicas;
}
