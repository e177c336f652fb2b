import { mkdirSync, writeFileSync } from 'node:fs';
import { chown, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type ContainerConfig, ContainerEventType, NamespaceMode } from '../../api/cri/index.ts';
import { faultPoint, UndoStack } from '../../async/index.ts';
import { toHostId } from '../../host/namespaces/index.ts';
import { stage } from '../calls/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, nameTaken, notInState, stepFailed } from '../errors.ts';
import { featuresOf } from '../features/index.ts';
import { newId, toNanoseconds } from '../identifiers.ts';
import { sandboxMounts } from '../sandboxes/sandbox-files.ts';
import type { RootOwner } from '../snapshots/index.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { removeTree } from '../store/json-file.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { checkContainerConfig } from './check-container.ts';
import { groundOf, userTablesOf } from './ground.ts';
import type { ImageConfig } from './image-config.ts';
import { imageOf, lastingReference } from './image-of.ts';
import { mountImageVolumes } from './image-volumes.ts';
import { mountMappedVolumes, unmountMappedVolumes } from './mapped-volumes.ts';
import { clampOomScoreAdj } from './oom-score.ts';
import { publishContainer } from './publish.ts';
import type { OciSpec } from './spec/oci-spec.ts';
import { resolveUser } from './spec/process-user.ts';
import { resolveInRoot } from './spec/root-path.ts';
import { buildSpec, logPathOf } from './spec/spec.ts';
import { stopSignalOf } from './stop-signal.ts';

/** Prepares a container: root file system and OCI configuration. Nothing runs yet. Gives its id. */
export async function createContainer(
  context: RuntimeContext,
  sandbox: SandboxRecord,
  config: ContainerConfig,
): Promise<string> {
  if (sandbox.phase !== 'ready') throw notInState(`sandbox container "${sandbox.id}" is not running`);
  if (!config.metadata?.name) throw invalid('container metadata needs a name');
  const name = `${containerName(config)} in ${sandbox.id}`;
  return context.flights.containers.join(name, config, async () => {
    const unclaimed = context.flights.containers.claim(name, config);
    if (unclaimed && context.store.containers.find(unclaimed)) return unclaimed;
    refuseTakenName(context, sandbox, config);
    return prepareContainer(context, sandbox, config);
  });
}

function refuseTakenName(context: RuntimeContext, sandbox: SandboxRecord, config: ContainerConfig): void {
  const taken = context.store.containers
    .list()
    .find((other) => other.sandboxId === sandbox.id && containerName(other.config) === containerName(config));
  if (taken) throw nameTaken('container', containerName(config), taken.id);
}

/** The image as the user wrote it. */
const nameOf = ({ image }: ContainerConfig): string => image?.userSpecifiedImage || image?.image || '';

const containerName = ({ metadata }: ContainerConfig): string => `${metadata?.name}_${metadata?.attempt}`;

async function prepareContainer(
  context: RuntimeContext,
  sandbox: SandboxRecord,
  config: ContainerConfig,
): Promise<string> {
  checkContainerConfig(context, sandbox, config);
  const { record: image, config: imageConfig } = imageOf(context, config);
  const id = newId();
  const record: ContainerRecord = {
    version: 1,
    id,
    sandboxId: sandbox.id,
    config,
    image: { id: image.id, reference: lastingReference(image, nameOf(config)) },
    createdAtNs: toNanoseconds(context.clock.now()),
    phase: { name: 'created' },
    cgroupPath: join(sandbox.cgroupParent, id),
    logPath: logPathOf(sandbox, config),
    user: { uid: 0, gid: 0, groups: [] },
    stopSignal: stopSignalOf(config, imageConfig),
    runtimeHandler: sandbox.runtimeHandler,
    resources: config.linux?.resources,
    imageMounts: [],
  };
  const owner = rootOwner(sandbox);
  await using undo = new UndoStack();
  undo.add('record', () => context.store.containers.delete(id));
  undo.add('root file system', () => context.rootfs.remove(id));
  const rootfs = await step('failed to prepare the root file system', () =>
    context.rootfs.prepare(image.id, id, owner),
  );
  await faultPoint('create-container:rootfs');
  undo.add('image volumes', () => Promise.all(record.imageMounts.map((key) => context.rootfs.remove(key))));
  const imageMounts = await stage('mount image volumes', () => mountImageVolumes(context, record, owner));
  await faultPoint('create-container:volumes');
  record.user = await stage('resolve the user', async () =>
    resolveUser(await userTablesOf(context, image.id, rootfs), imageConfig.user, config.linux?.securityContext),
  );
  undo.add('bundle', () => removeTree(context.paths.bundle(id)));
  undo.add('mapped volumes', () => unmountMappedVolumes(context, id));
  await step('failed to generate container spec', () =>
    writeBundle({ context, sandbox, record, rootfs, imageConfig, imageMounts }),
  );
  await faultPoint('create-container:bundle');
  await stage('write the record', () => context.store.containers.put(record));
  undo.keep();
  await faultPoint('create-container:recorded');
  publishContainer(context, record, ContainerEventType.CONTAINER_CREATED_EVENT);
  return id;
}

/** The owner of a container's files, where the sandbox has a user namespace. */
function rootOwner({ namespaces, userMapping }: SandboxRecord): RootOwner | undefined {
  if (!userMapping || !namespaces.user) return undefined;
  return { namespacePath: namespaces.user, mapping: userMapping };
}

async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await stage(name.replace(/^failed to /, ''), work);
  } catch (cause) {
    throw stepFailed(name, cause);
  }
}

async function writeBundle(inputs: {
  context: RuntimeContext;
  sandbox: SandboxRecord;
  record: ContainerRecord;
  rootfs: string;
  imageConfig: ImageConfig;
  imageMounts: ReadonlyMap<string, string>;
}): Promise<void> {
  const { context, sandbox, record, rootfs, imageConfig } = inputs;
  const { config } = record;
  const spec = await buildSpec({
    ground: groundOf(context),
    config,
    sandbox,
    sandboxMounts: sandboxMounts(context, sandbox),
    rootfs,
    image: imageConfig,
    imageMounts: inputs.imageMounts,
    imageReference: nameOf(config),
    user: record.user,
    cgroupPath: record.cgroupPath,
    oomScoreAdj: clampOomScoreAdj(context, config.linux?.resources?.oomScoreAdj),
    recursiveReadOnlyProblem: async () => (await featuresOf(context, sandbox.runtimeHandler)).recursiveReadOnlyProblem,
    mapVolumes: (volumes) => mountMappedVolumes(context, record.id, volumes),
    ...targetOf(context, sandbox, config),
  });
  const isReadOnly = spec.root.readonly;
  await makeDirectories(rootfs, [...(isReadOnly ? [] : [spec.process.cwd]), ...imageConfig.volumes], sandbox);
  if (isReadOnly) await addOwnVolumes(spec, rootfs, imageConfig.volumes);
  // Two small writes to what is memory on most machines: asking a thread to do them takes longer.
  const bundle = context.paths.bundle(record.id);
  mkdirSync(bundle, { recursive: true, mode: 0o711 });
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
}

/**
 * Volumes that the image itself declares can be written to even where the root cannot. They are part of the container and
 * go with it, so they are the same directories once more, without the read-only of the root.
 */
async function addOwnVolumes(spec: OciSpec, rootfs: string, volumes: readonly string[]): Promise<void> {
  for (const destination of volumes) {
    if (destination === '/' || spec.mounts.some((mount) => mount.destination === destination)) continue;
    const source = await resolveInRoot(rootfs, destination);
    spec.mounts.push({ destination, type: 'bind', source, options: ['bind', 'rprivate', 'rw'] });
  }
}

/** The container whose PID namespace another one is to join. It must be in the same sandbox. */
function targetOf(context: RuntimeContext, sandbox: SandboxRecord, config: ContainerConfig) {
  const options = config.linux?.securityContext?.namespaceOptions;
  if (options?.pid !== NamespaceMode.TARGET) return {};
  if (!options.targetId) throw invalid('PID mode TARGET needs the id of a target container');
  const target = context.store.containers.get(options.targetId);
  if (target.sandboxId !== sandbox.id) throw invalid(`target container "${target.id}" is not in the sandbox`);
  return { target };
}

/**
 * Makes the working directory and the places of the image's own volumes, as root of the container like every runtime.
 * What is there, and what is in the way, is left to the OCI runtime.
 */
async function makeDirectories(rootfs: string, directories: readonly string[], sandbox: SandboxRecord): Promise<void> {
  const { userMapping } = sandbox;
  for (const directory of directories) {
    if (directory === '/') continue;
    const path = await resolveInRoot(rootfs, directory);
    const first = await mkdir(path, { recursive: true }).catch(() => undefined);
    if (!first || !userMapping) continue;
    const [uid, gid] = [toHostId(userMapping.uids, 0) ?? 0, toHostId(userMapping.gids, 0) ?? 0];
    for (let made = path; made.length >= first.length; made = dirname(made)) await chown(made, uid, gid);
  }
}
