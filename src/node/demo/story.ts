import { type ApiObject, type Draft, type Pod, type Resource, resources } from '../../api/index.ts';
import { type Clock, pollUntil } from '../../async/index.ts';
import { type ApiClient, isAlreadyExists, isNotFound } from '../../client/index.ts';
import { HttpClient } from '../../wire/http/index.ts';
import type { Instance } from '../up.ts';
import { buildDemoImage } from './image.ts';
import { commandPod, countAnswers, demoNamespace, webDeployment, webService } from './objects.ts';
import { type DemoRegistry, startDemoRegistry } from './registry.ts';

/** Where the story goes and how it ends early. */
export interface StoryOptions {
  clock: Clock;
  signal: AbortSignal;
  print: (line: string) => void;
}

/** What the steps share. */
interface Scene extends StoryOptions {
  client: ApiClient;
  instance: Instance;
  registry: DemoRegistry;
  image: (version: string) => string;
  clusterIp: string;
  nodePort: number;
}

/** Tells the story of a node with real pods and packets, in about twenty lines. @throws Error when a part of it is not true */
export async function tellStory(instance: Instance, options: StoryOptions): Promise<void> {
  const registry = await startDemoRegistry();
  options.signal.addEventListener('abort', () => void registry.close());
  const image = (version: string) => `${registry.host}/demo/web:${version}`;
  for (const version of ['v1', 'v2']) registry.add('demo/web', version, await buildDemoImage(version));
  const scene: Scene = { ...options, client: instance.client, instance, registry, image, clusterIp: '', nodePort: 0 };
  await tellNode(scene);
  await clearNamespace(scene);
  await tellDeployment(scene);
  await tellEndpoints(scene);
  await tellRequests(scene);
  await tellScale(scene);
  await tellRollout(scene);
  await tellMemoryLimit(scene);
  tellEnd(scene);
}

async function tellNode({ client, instance, print }: Scene): Promise<void> {
  const { nodeName, nodeIp } = instance.record;
  const node = await client.get(resources.nodes, nodeName);
  const { containerRuntimeVersion, kubeletVersion } = node.status!.nodeInfo!;
  print(
    `  the kubelet ${kubeletVersion} registered node ${nodeName} at ${nodeIp}; the runtime answers over the CRI as ${containerRuntimeVersion}`,
  );
}

/** Begins with an empty namespace, also when an earlier demo was here. */
async function clearNamespace({ client, clock, signal }: Scene): Promise<void> {
  await client.delete(resources.namespaces, demoNamespace).catch(ignore(isNotFound));
  await pollUntil(
    'the end of the last demo',
    async () => (await client.get(resources.namespaces, demoNamespace).catch(ignore(isNotFound))) === undefined,
    { timeoutMs: 60_000, clock, signal },
  );
  await client.create(resources.namespaces, { metadata: { name: demoNamespace }, spec: {} });
}

const ignore = (expected: (error: unknown) => boolean) => (error: unknown) => {
  if (!expected(error)) throw error;
  return undefined;
};

async function create<T extends ApiObject>(
  { client, clock, signal }: Scene,
  resource: Resource<T>,
  draft: Draft<T>,
): Promise<T> {
  // A new namespace gets its service account a moment later.
  return pollUntil(
    `create ${resource.plural} ${draft.metadata.name}`,
    async () =>
      client.create(resource, draft, { namespace: demoNamespace }).catch((error: Error) => {
        if (isAlreadyExists(error) || !/serviceaccount/.test(error.message)) throw error;
        return undefined;
      }),
    { timeoutMs: 10_000, clock, signal },
  );
}

async function tellDeployment(scene: Scene): Promise<void> {
  const { client, clock, print, registry } = scene;
  const started = clock.monotonic();
  const since = () => `${Math.round(clock.monotonic() - started)} ms`;
  const service = await create(scene, resources.services, webService());
  scene.clusterIp = service.spec.clusterIP!;
  scene.nodePort = service.spec.ports![0]!.nodePort!;
  await create(scene, resources.deployments, webDeployment(scene.image('v1'), 3));
  print(
    `  created Deployment web (3 replicas) and Service web (${scene.clusterIp}:80, node port ${scene.nodePort}); image ${scene.image('v1')} is not on the node`,
  );
  await waitForPods(scene, 1);
  print(`  first pod Ready after ${since()}, image pulled on the way`);
  const pods = await waitForPods(scene, 3);
  print(
    `  3 pods Ready after ${since()}: ${pods.map((pod) => pod.status?.podIP).join(', ')}; the image was pulled ${registry.blobFetches() === 2 ? 'once' : `with ${registry.blobFetches()} blob fetches`}`,
  );
  const first = pods[0]!;
  const limit = first.spec.containers[0]!.resources?.limits?.['memory'];
  print(`  each in its own network namespace and cgroup, memory limit ${limit}, QoS ${first.status?.qosClass}`);
  await client.get(resources.deployments, 'web', { namespace: demoNamespace });
}

/** Waits until exactly this many web pods are Ready and no other is left. */
async function waitForPods({ client, clock, signal }: Scene, count: number, atLeast = count === 1): Promise<Pod[]> {
  return pollUntil(
    `${count} pods Ready`,
    async () => {
      const { items } = await client.list(resources.pods, { namespace: demoNamespace, labelSelector: 'app=web' });
      const ready = items.filter(({ status }) =>
        status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
      );
      return (atLeast ? ready.length >= count : ready.length === count && items.length === count) && ready;
    },
    { timeoutMs: 120_000, intervalMs: 10, clock, signal },
  );
}

async function tellEndpoints({ client, clock, signal, print }: Scene): Promise<void> {
  const addresses = await pollUntil(
    'three endpoints',
    async () => {
      const { items } = await client.list(resources.endpointslices, {
        namespace: demoNamespace,
        labelSelector: 'kubernetes.io/service-name=web',
      });
      const ready = items.flatMap(({ endpoints }) => endpoints ?? []).filter(({ conditions }) => conditions?.ready);
      return ready.length === 3 && ready.map((endpoint) => endpoint.addresses[0]);
    },
    { timeoutMs: 10_000, clock, signal },
  );
  print(`  EndpointSlice and Endpoints of web: ${addresses.join(', ')}`);
}

async function tellRequests(scene: Scene): Promise<void> {
  const { print, clusterIp, nodePort, instance } = scene;
  for (const [name, url, what] of [
    ['by-ip', `http://${clusterIp}/`, 'by IP'],
    ['by-name', 'http://web/', 'by name'],
  ] as const) {
    const counts = readCounts(await runPod(scene, name, countAnswers(url, 300)));
    print(`  300 requests from a pod ${what}: ${[...counts.values()].join('/')} over ${counts.size} pods`);
    if (counts.size !== 3 || counts.has('FAILED'))
      throw new Error(`requests ${what} were answered ${JSON.stringify([...counts])}`);
  }
  for (const [what, url] of [
    ['to the Service IP', `http://${clusterIp}/`],
    ['to the node port', `http://${instance.record.nodeIp}:${nodePort}/`],
  ] as const) {
    const counts = await askFromHost(url, 90);
    print(`  90 requests from the host ${what}: ${[...counts.values()].join('/')} over ${counts.size} pods`);
  }
  const pods = await waitForPods(scene, 3);
  const podIp = pods[0]!.status!.podIP!;
  const pings = await runPod(
    scene,
    'ping',
    `ping -c 1 -W 1 ${podIp} >/dev/null && echo pod answers; ping -c 1 -W 1 ${clusterIp} >/dev/null || echo Service does not`,
  );
  print(`  ping: ${pings.trim().replaceAll('\n', ', ')}`);
}

async function askFromHost(url: string, count: number): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const client = new HttpClient({ baseUrl: url, keepAlive: false });
    const { body } = await client.request({ path: '/', timeoutMs: 5_000 });
    client.close();
    const answer = body.toString().trim();
    counts.set(answer, (counts.get(answer) ?? 0) + 1);
  }
  return counts;
}

/** Lines of `uniq -c` as a map from answer to count. */
function readCounts(text: string): Map<string, number> {
  return new Map(
    text
      .trim()
      .split('\n')
      .map((line) => {
        const [, count, answer] = /^\s*(\d+) (.*)$/.exec(line) ?? ['', '0', line];
        return [answer!, Number(count)];
      }),
  );
}

/** Runs a command in a pod of its own to its end and gives what it printed. */
async function runPod(scene: Scene, name: string, command: string): Promise<string> {
  const { client, clock, signal } = scene;
  await create(scene, resources.pods, commandPod(name, scene.image('v1'), command));
  await pollUntil(
    `pod ${name} done`,
    async () => {
      const pod = await client.get(resources.pods, name, { namespace: demoNamespace });
      if (pod.status?.phase === 'Failed')
        throw new Error(`pod ${name} failed: ${pod.status.message ?? pod.status.reason ?? ''}`);
      return pod.status?.phase === 'Succeeded';
    },
    { timeoutMs: 60_000, clock, signal },
  );
  const { body } = await client.request('GET', `/api/v1/namespaces/${demoNamespace}/pods/${name}/log`);
  await client.delete(resources.pods, name, { namespace: demoNamespace });
  return body.toString();
}

async function tellScale(scene: Scene): Promise<void> {
  const { client, clock, print } = scene;
  for (const replicas of [5, 1, 3]) {
    const started = clock.monotonic();
    await client.patch(
      resources.deployments,
      'web',
      { spec: { replicas } },
      { namespace: demoNamespace, type: 'merge' },
    );
    await waitForPods(scene, replicas, false);
    print(`  scaled to ${replicas} in ${Math.round(clock.monotonic() - started)} ms`);
  }
}

async function tellRollout(scene: Scene): Promise<void> {
  const { client, clock, signal, print, clusterIp } = scene;
  const started = clock.monotonic();
  const patch = { spec: { template: { spec: { containers: [{ name: 'web', image: scene.image('v2') }] } } } };
  await client.patch(resources.deployments, 'web', patch, { namespace: demoNamespace, type: 'strategic' });
  await pollUntil(
    'the new version everywhere',
    async () => {
      const { items } = await client.list(resources.pods, { namespace: demoNamespace, labelSelector: 'app=web' });
      return items.length === 3 && items.every((pod) => pod.spec.containers[0]!.image === scene.image('v2'));
    },
    { timeoutMs: 60_000, clock, signal },
  );
  await waitForPods(scene, 3);
  const counts = await askFromHost(`http://${clusterIp}/`, 30);
  const versions = new Set([...counts.keys()].map((answer) => answer.split(' ')[0]));
  print(
    `  rolled out v2 in ${Math.round(clock.monotonic() - started)} ms; the Service now answers ${[...versions].join(' and ')}`,
  );
}

async function tellMemoryLimit(scene: Scene): Promise<void> {
  const { client, clock, signal, print } = scene;
  const hungry = 'exec dd if=/dev/zero of=/dev/null bs=64M count=1';
  await create(
    scene,
    resources.pods,
    commandPod('hungry', scene.image('v1'), hungry, { memory: '16Mi', restartPolicy: 'Always' }),
  );
  const terminated = await pollUntil(
    'the container over its limit ended',
    async () => {
      const pod = await client.get(resources.pods, 'hungry', { namespace: demoNamespace });
      const status = pod.status?.containerStatuses?.[0];
      return status?.lastState?.terminated ?? status?.state?.terminated;
    },
    { timeoutMs: 30_000, clock, signal },
  );
  print(
    `  a container over its memory limit of 16Mi: ${terminated.reason} with exit code ${terminated.exitCode}, started again`,
  );
  await client.delete(resources.pods, 'hungry', { namespace: demoNamespace, gracePeriodSeconds: 0 });
}

function tellEnd({ instance, print }: Scene): void {
  const kubectl = `kubectl --kubeconfig ${instance.record.kubeconfig}`;
  print('the story is told; the node stays up until Ctrl-C. Try:');
  print(`  ${kubectl} get pods -A -o wide`);
  print(`  ${kubectl} -n ${demoNamespace} logs -l app=web`);
  print(`  ${kubectl} -n ${demoNamespace} scale deployment web --replicas=10`);
}
