import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ContainerConfig, ContainerEventType, NamespaceMode, Signal } from '../../api/cri/index.ts';
import { faultPoint, UndoStack } from '../../async/index.ts';
import { stage } from '../calls/index.ts';
import type { RuntimeContext } from '../context.ts';
import { invalid, nameTaken, notInState, stepFailed } from '../errors.ts';
import { newId, toNanoseconds } from '../identifiers.ts';
import { sandboxMounts } from '../sandboxes/sandbox-files.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { removeTree } from '../store/json-file.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import type { ImageConfig } from './image-config.ts';
import { imageOf, lastingReference } from './image-of.ts';
import { mountImageVolumes } from './image-volumes.ts';
import { clampOomScoreAdj } from './oom-score.ts';
import { publishContainer } from './publish.ts';
import { refuseUnsupported } from './spec/process.ts';
import { resolveUser } from './spec/process-user.ts';
import { resolveInRoot } from './spec/root-path.ts';
import { buildSpec, logPathOf } from './spec/spec.ts';

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
  refuseUnsupported(config, context.kernel);
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
  await using undo = new UndoStack();
  undo.add('record', () => context.store.containers.delete(id));
  undo.add('root file system', () => context.rootfs.remove(id));
  const rootfs = await step('failed to prepare the root file system', () => context.rootfs.prepare(image.id, id));
  await faultPoint('create-container:rootfs');
  undo.add('image volumes', () => Promise.all(record.imageMounts.map((key) => context.rootfs.remove(key))));
  const imageMounts = await stage('mount image volumes', () => mountImageVolumes(context, record));
  await faultPoint('create-container:volumes');
  record.user = await stage('resolve the user', () =>
    resolveUser(rootfs, imageConfig.user, config.linux?.securityContext),
  );
  undo.add('bundle', () => removeTree(context.paths.bundle(id)));
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
  const targetId = config.linux?.securityContext?.namespaceOptions?.targetId;
  const isTarget = config.linux?.securityContext?.namespaceOptions?.pid === NamespaceMode.TARGET;
  const [spec] = await Promise.all([
    buildSpec({
      id: record.id,
      config,
      sandbox,
      sandboxMounts: sandboxMounts(context.paths.sandbox(sandbox.id), sandbox),
      rootfs,
      image: imageConfig,
      imageMounts: inputs.imageMounts,
      imageReference: nameOf(config),
      user: record.user,
      cgroupPath: record.cgroupPath,
      oomScoreAdj: clampOomScoreAdj(context, config.linux?.resources?.oomScoreAdj),
      availableCapabilities: context.kernel.capabilities,
      seccompProfileRoot: context.settings.seccompProfileRoot,
      ...(isTarget ? { target: context.store.containers.get(targetId ?? '') } : {}),
    }),
    mkdir(context.paths.bundle(record.id), { recursive: true, mode: 0o711 }),
  ]);
  await makeWorkingDirectory(rootfs, spec.process.cwd, record);
  await writeFile(join(context.paths.bundle(record.id), 'config.json'), JSON.stringify(spec));
}

/** The OCI runtime makes a missing working directory too, but as root; other runtimes do the same. */
async function makeWorkingDirectory(rootfs: string, directory: string, record: ContainerRecord): Promise<void> {
  if (directory === '/' || record.config.linux?.securityContext?.readonlyRootfs) return;
  await mkdir(await resolveInRoot(rootfs, directory), { recursive: true }).catch(() => {});
}

/** The signal that asks the container to end: the CRI's, else the image's, else TERM. */
function stopSignalOf(config: ContainerConfig, image: ImageConfig): string {
  if (config.stopSignal !== Signal.RUNTIME_DEFAULT)
    return (Signal[config.stopSignal] ?? 'SIGTERM').replace('PLUS', '+').replace('MINUS', '-');
  const text = image.stopSignal.toUpperCase();
  if (text === '') return 'SIGTERM';
  return /^\d+$/.test(text) || text.startsWith('SIG') ? text : `SIG${text}`;
}
