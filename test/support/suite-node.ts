import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Cluster } from './cluster.ts';
import { Containerd } from './containerd.ts';
import { busyboxEntries, dockerArchiveFiles, makeImage, makeLayer, packFiles } from './images.ts';

const pauseImage = 'example.test/pause:v1';
const podCidr = '10.244.0.0/24';

/**
 * A cluster whose kubelet runs on Deckhand's runtime or, with the environment variable DECKHAND_TEST_KUBELET_RUNTIME set to
 * `containerd`, on Debian's containerd: the same behaviour suite on both.
 */
export class SuiteNode implements AsyncDisposable {
  readonly cluster: Cluster;
  /** `unix:///…` of the runtime. */
  readonly endpoint: string;
  readonly #containerd: Containerd | undefined;

  private constructor(cluster: Cluster, containerd?: Containerd) {
    this.cluster = cluster;
    this.#containerd = containerd;
    this.endpoint = containerd?.endpoint ?? `unix://${join(cluster.dataDirectory, 'runtime', 'runtime.sock')}`;
  }

  /** The name that container ids begin with. */
  get runtimeName(): string {
    return this.#containerd ? 'containerd' : 'deckhand';
  }

  /**
   * Starts it; `fields` are the kubelet's configuration, made when the data directory and the runtime's endpoint are known,
   * and `more` are further options of `up`, made after that.
   */
  static async start(
    purpose: string,
    fields: (node: SuiteNode) => Promise<object> | object,
    more: string[] | ((node: SuiteNode) => string[]) = [],
  ): Promise<SuiteNode> {
    const cluster = await Cluster.create(purpose);
    const node = new SuiteNode(cluster, await startChosen(cluster));
    try {
      const configured = await cluster.kubeletConfig(await fields(node));
      const options = [
        '--place',
        'kubelet=process',
        ...configured,
        ...(typeof more === 'function' ? more(node) : more),
      ];
      if (node.#containerd) options.push('--runtime-endpoint', node.endpoint, '--pod-cidr', podCidr);
      await cluster.up(options);
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The pods first: shims outlive a runtime.
    if (this.#containerd) await this.cluster.down().catch(() => {});
    await this.#containerd?.[Symbol.asyncDispose]();
    await this.cluster[Symbol.asyncDispose]();
  }
}

async function startChosen(cluster: Cluster): Promise<Containerd | undefined> {
  const chosen = process.env['DECKHAND_TEST_KUBELET_RUNTIME'] ?? '';
  if (chosen === '') return undefined;
  if (chosen !== 'containerd')
    throw new Error(`DECKHAND_TEST_KUBELET_RUNTIME=${chosen}: only containerd is known beside Deckhand's own runtime`);
  const containerd = await Containerd.start(cluster.namespace, { podCidr, pauseImage });
  const layer = makeLayer(await busyboxEntries(['sleep']), { family: 'docker' });
  const image = makeImage([layer], { family: 'docker', config: { Env: ['PATH=/bin'], Cmd: ['sleep', '2147483647'] } });
  const file = join(containerd.directory, 'pause.tar');
  await writeFile(file, packFiles(dockerArchiveFiles([{ image, names: [pauseImage] }])));
  const { status, stderr } = await containerd.ctr('images', 'import', file);
  if (status !== 0) throw new Error(stderr);
  await cluster.namespace.output(['ip', 'link', 'add', 'cni0', 'type', 'bridge']);
  await cluster.namespace.output(['ip', 'address', 'add', '10.244.0.1/24', 'dev', 'cni0']);
  await cluster.namespace.output(['ip', 'link', 'set', 'cni0', 'up']);
  return containerd;
}
