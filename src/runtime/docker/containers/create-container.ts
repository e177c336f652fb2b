import { join } from 'node:path';
import { type ContainerConfig, ContainerEventType } from '../../../api/cri/index.ts';
import { stage } from '../../calls/index.ts';
import { lastingReference } from '../../containers/image-of.ts';
import { publishContainer } from '../../containers/publish.ts';
import { stopSignalOf } from '../../containers/stop-signal.ts';
import { invalid, messageOf, nameTaken, notFound, notInState, stepFailed } from '../../errors.ts';
import { toNanoseconds } from '../../identifiers.ts';
import type { ContainerRecord } from '../../store/container-record.ts';
import type { SandboxRecord } from '../../store/sandbox-record.ts';
import type { DockerContext } from '../docker-context.ts';
import { isConflict } from '../engine/index.ts';
import { removeFromEngine } from '../sandboxes/release-sandbox.ts';
import { containerBody, containerName } from './container-body.ts';

/** Makes a container in a sandbox, not yet started. Gives its id, which is the engine's. */
export async function createContainer(
  context: DockerContext,
  sandboxId: string,
  config: ContainerConfig,
): Promise<string> {
  const sandbox = context.store.sandboxes.get(sandboxId);
  if (sandbox.phase !== 'ready') throw notInState(`sandbox "${sandbox.id}" is not running`);
  const name = containerName(config, sandbox.config);
  return context.flights.containers.join(name, config, async () => {
    const unclaimed = context.flights.containers.claim(name, config);
    if (unclaimed && context.store.containers.find(unclaimed)) return unclaimed;
    const taken = context.store.containers
      .list()
      .find((one) => one.sandboxId === sandbox.id && containerName(one.config, sandbox.config) === name);
    if (taken) throw nameTaken('container', name, taken.id);
    return make(context, sandbox, { name, config });
  });
}

async function make(
  context: DockerContext,
  sandbox: SandboxRecord,
  { name, config }: { name: string; config: ContainerConfig },
): Promise<string> {
  const reference = config.image?.image;
  if (!reference) throw invalid('a container needs an image');
  const image = await context.images.status(reference);
  if (!image) throw notFound('image', reference);
  const stopSignal = stopSignalOf(config, { stopSignal: image.configuration.config?.StopSignal ?? '' });
  const id = await create(context, name, () =>
    containerBody(context, config, { sandbox, imageId: image.id, stopSignal }),
  );
  const logPath =
    config.logPath && sandbox.config.logDirectory ? join(sandbox.config.logDirectory, config.logPath) : '';
  const record: ContainerRecord = {
    version: 1,
    id,
    sandboxId: sandbox.id,
    config,
    image: { id: image.id, reference: lastingReference(image, reference) },
    createdAtNs: toNanoseconds(context.clock.now()),
    phase: { name: 'created' },
    cgroupPath: '',
    logPath,
    user: { uid: 0, gid: 0, groups: [] },
    stopSignal,
    runtimeHandler: sandbox.runtimeHandler,
    ...(config.linux?.resources ? { resources: config.linux.resources } : {}),
    imageMounts: [],
  };
  try {
    await context.store.containers.put(record);
  } catch (cause) {
    await removeFromEngine(context, id);
    throw cause;
  }
  publishContainer(context, record, ContainerEventType.CONTAINER_CREATED_EVENT);
  return id;
}

/** More than there are capabilities that an engine may not know, and one for a name that is taken. */
const attempts = 10;

/** Creates it; what a cut-off creation left under the name goes first. */
async function create(context: DockerContext, name: string, body: () => Promise<object>): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const query = { name };
    const content = await body();
    try {
      const made = await stage('create', () =>
        context.engine.post<{ Id: string }>('/containers/create', { query, body: content }),
      );
      return made.Id;
    } catch (cause) {
      const unknown = /unknown capability: "(CAP_\w+)"/.exec(messageOf(cause))?.[1];
      if (attempt === attempts || !(unknown || isConflict(cause)))
        throw stepFailed('failed to create the container', cause);
      if (unknown) context.unknownCapabilities.add(unknown);
      else await removeFromEngine(context, name);
    }
  }
}
