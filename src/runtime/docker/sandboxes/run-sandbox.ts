import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerEventType, NamespaceMode, type PodSandboxConfig } from '../../../api/cri/index.ts';
import { UndoStack } from '../../../async/index.ts';
import { identifyProcess } from '../../../host/exec/index.ts';
import { pinNamespace } from '../../../host/namespaces/index.ts';
import { stage } from '../../calls/index.ts';
import { clampOomScoreAdj } from '../../containers/oom-score.ts';
import { refuseUnsupportedSecurity } from '../../containers/spec/security.ts';
import { invalid, nameTaken, notFound, RuntimeError, stepFailed } from '../../errors.ts';
import { toNanoseconds } from '../../identifiers.ts';
import { networkRequest } from '../../sandboxes/network-request.ts';
import { publishSandbox } from '../../sandboxes/publish.ts';
import { renderResolvConf } from '../../sandboxes/sandbox-files.ts';
import { userMappingOf } from '../../sandboxes/user-mapping.ts';
import type { SandboxRecord } from '../../store/sandbox-record.ts';
import type { DockerContext } from '../docker-context.ts';
import type { ContainerDetails } from '../engine/index.ts';
import { isConflict } from '../engine/index.ts';
import { releaseSandbox } from './release-sandbox.ts';
import { sandboxBody, sandboxCgroupParent, sandboxContainerName } from './sandbox-body.ts';
import { ensureSandboxImage, ownSandboxImage } from './sandbox-image.ts';

/** A sandbox's own process goes last when memory runs out, as far as this machine lets it. */
const holderOomScoreAdj = -998n;

/**
 * Makes a sandbox: a container of the engine that holds the namespaces, and the pod network in it. What fails half-way is
 * undone. Gives its id, which is the container's.
 */
export async function runSandbox(context: DockerContext, config: PodSandboxConfig, handler: string): Promise<string> {
  await check(context, config, handler);
  const name = sandboxContainerName(config);
  const asked = { config, handler };
  return context.flights.sandboxes.join(name, asked, async () => {
    const unclaimed = context.flights.sandboxes.claim(name, asked);
    if (unclaimed && context.store.sandboxes.find(unclaimed)) return unclaimed;
    const taken = context.store.sandboxes.list().find((other) => sandboxContainerName(other.config) === name);
    if (taken) throw nameTaken('sandbox', name, taken.id);
    return make(context, config, handler);
  });
}

async function check(context: DockerContext, config: PodSandboxConfig, handler: string): Promise<void> {
  const { metadata, linux, hostname } = config;
  if (!metadata?.name || !metadata.uid || !metadata.namespace)
    throw invalid('sandbox metadata needs a name, a namespace and a uid');
  const options = linux?.securityContext?.namespaceOptions;
  if (userMappingOf(options?.usernsOptions))
    throw new RuntimeError('FAILED_PRECONDITION', 'user namespaces of pods are not supported by the Docker Engine');
  if (options?.pid === NamespaceMode.TARGET) throw invalid('PID mode TARGET is for containers, not for a sandbox');
  if (Buffer.byteLength(hostname) > 64) throw invalid(`hostname "${hostname}" is longer than 64 characters`);
  if (linux?.securityContext) refuseUnsupportedSecurity(context.kernel, linux.securityContext);
  if (!handler) return;
  const { Runtimes = {} } = await context.engine.setup();
  if (!Object.hasOwn(Runtimes, handler)) throw notFound('runtime handler', handler);
}

async function make(context: DockerContext, config: PodSandboxConfig, handler: string): Promise<string> {
  const { engine, settings } = context;
  const image = settings.sandboxImage ?? ownSandboxImage;
  await stage('the image of sandboxes', () => ensureSandboxImage(engine, image));
  const info = await engine.setup();
  const cgroupParent = sandboxCgroupParent(config, '/docker');
  const body = sandboxBody(config, {
    ...{ image, handler, owner: settings.root, cgroupDriver: info.CgroupDriver, cgroupParent },
    oomScoreAdj: clampOomScoreAdj(context, holderOomScoreAdj) ?? 0,
  });
  const id = await create(context, sandboxContainerName(config), body);
  const record: SandboxRecord = {
    version: 1,
    id,
    phase: 'creating',
    config,
    runtimeHandler: handler,
    createdAtNs: toNanoseconds(context.clock.now()),
    cgroupParent,
    namespaces: {},
  };
  await using undo = new UndoStack();
  undo.add('the sandbox', async () => {
    await releaseSandbox(context, record);
    await context.store.sandboxes.delete(id);
  });
  await context.store.sandboxes.put(record);
  await stage('start', () => engine.post(`/containers/${id}/start`));
  await finish(context, record);
  record.phase = 'ready';
  await context.store.sandboxes.put(record);
  undo.keep();
  for (const type of [ContainerEventType.CONTAINER_CREATED_EVENT, ContainerEventType.CONTAINER_STARTED_EVENT])
    publishSandbox(context, record, type);
  return id;
}

/** Creates the container; one that a cut-off creation left under the name goes first. */
async function create(context: DockerContext, name: string, body: object): Promise<string> {
  const attempt = () =>
    stage('create', () => context.engine.post<{ Id: string }>('/containers/create', { query: { name }, body }));
  try {
    return (await attempt()).Id;
  } catch (error) {
    if (!isConflict(error)) throw stepFailed('failed to create the sandbox', error);
    await context.engine.delete(`/containers/${encodeURIComponent(name)}`, { force: true, v: true });
    return (await attempt()).Id;
  }
}

/** What the engine does not do: its files as the pod wants them, and the network. */
async function finish(context: DockerContext, record: SandboxRecord): Promise<void> {
  const details = await context.engine.get<ContainerDetails>(`/containers/${record.id}/json`);
  const holder = identifyProcess(details.State.Pid);
  if (!holder) throw new RuntimeError('UNKNOWN', `the process of sandbox "${record.id}" ended at once`);
  record.holder = holder;
  const { dnsConfig, linux } = record.config;
  if (dnsConfig && dnsConfig.servers.length + dnsConfig.searches.length + dnsConfig.options.length > 0)
    await writeFile(details.ResolvConfPath, renderResolvConf(dnsConfig));
  if (linux?.securityContext?.namespaceOptions?.network === NamespaceMode.NODE) return;
  const directory = join(context.settings.state, 'namespaces');
  await mkdir(directory, { recursive: true, mode: 0o711 });
  record.namespaces = { network: join(directory, record.id) };
  await context.store.sandboxes.put(record);
  pinNamespace(`/proc/${holder.pid}/ns/net`, record.namespaces.network!);
  try {
    record.network = await stage('set up the network', () => context.network.attach(networkRequest(record)));
  } catch (cause) {
    throw stepFailed(`failed to set up network for sandbox "${record.id}"`, cause);
  }
  const { hostname } = record.config;
  if (hostname) await appendFile(details.HostsPath, record.network.ips.map((ip) => `${ip}\t${hostname}\n`).join(''));
}
