import { ContainerEventType, type PodSandboxConfig } from '../../api/cri/index.ts';
import { faultPoint, UndoStack } from '../../async/index.ts';
import { stage } from '../calls/index.ts';
import type { RuntimeContext } from '../context.ts';
import { nameTaken, stepFailed } from '../errors.ts';
import { newId, toNanoseconds } from '../identifiers.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { checkSandboxConfig } from './check-sandbox.ts';
import { holdPidNamespace, makeNamespaces, sharesPids } from './make-namespaces.ts';
import { networkRequest } from './network-request.ts';
import { publishSandbox } from './publish.ts';
import { releaseSandbox } from './release-sandbox.ts';
import { makeSandboxCgroup, sandboxCgroup } from './sandbox-cgroup.ts';
import { addOwnHosts, writeSandboxFiles } from './sandbox-files.ts';
import { userMappingOf } from './user-mapping.ts';

/** When to try again to undo a failed creation, milliseconds. */
const undoAgainMs = 10_000;

/** Makes a sandbox: namespaces, files, cgroup, network. What fails half-way is undone. Gives its id. */
export async function runSandbox(context: RuntimeContext, config: PodSandboxConfig, handler: string): Promise<string> {
  checkSandboxConfig(context, config, handler);
  const name = sandboxName(config);
  const asked = { config, handler };
  return context.flights.sandboxes.join(name, asked, async () => {
    const unclaimed = context.flights.sandboxes.claim(name, asked);
    if (unclaimed && context.store.sandboxes.find(unclaimed)) return unclaimed;
    const taken = context.store.sandboxes.list().find((other) => sandboxName(other.config) === name);
    // What is left of a creation that failed and could not be undone then; only one makes a name at a time.
    if (taken?.phase === 'creating') await undoCreation(context, taken);
    else if (taken) throw nameTaken('sandbox', name, taken.id);
    return createSandbox(context, config, handler);
  });
}

const sandboxName = ({ metadata }: PodSandboxConfig): string =>
  [metadata?.name, metadata?.namespace, metadata?.uid, metadata?.attempt].join('_');

async function createSandbox(context: RuntimeContext, config: PodSandboxConfig, handler: string): Promise<string> {
  const userMapping = userMappingOf(config.linux?.securityContext?.namespaceOptions?.usernsOptions);
  const id = newId();
  const record: SandboxRecord = {
    version: 1,
    id,
    phase: 'creating',
    config,
    runtimeHandler: handler,
    createdAtNs: toNanoseconds(context.clock.now()),
    // Known from the start: whoever undoes this after a crash must find what was made.
    cgroupParent: sandboxCgroup(context, config, id),
    namespaces: {},
    ...(userMapping ? { userMapping } : {}),
  };
  if (sharesPids(record)) context.cgroups.expectAttach();
  await using undo = new UndoStack();
  undo.add('the sandbox', () => undoCreation(context, record));
  await stage('write the record', () => context.store.sandboxes.put(record));
  await faultPoint('run-sandbox:recorded');
  makeSandboxCgroup(context, record);
  await faultPoint('run-sandbox:cgroup');
  await makeNamespaces(context, record);
  await faultPoint('run-sandbox:namespaces');
  const network = attachNetwork(context, record);
  // It may fail while nobody waits for it yet.
  network.catch(() => {});
  try {
    await stage('write the sandbox files', () => writeSandboxFiles(context, record));
    await faultPoint('run-sandbox:files');
    await holdPidNamespace(context, record);
    await faultPoint('run-sandbox:holder');
  } finally {
    await network.catch(() => {});
  }
  await network;
  await addOwnHosts(context, record);
  await faultPoint('run-sandbox:network');
  record.phase = 'ready';
  await stage('write the record', () => context.store.sandboxes.put(record));
  undo.keep();
  await faultPoint('run-sandbox:ready');
  for (const type of [ContainerEventType.CONTAINER_CREATED_EVENT, ContainerEventType.CONTAINER_STARTED_EVENT])
    publishSandbox(context, record, type);
  return record.id;
}

/** The record goes last, and only when nothing is left: it is what the rest is found by. Tried again until it is done. */
async function undoCreation(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  try {
    await context.serial.run(record.id, async () => {
      if (!context.store.sandboxes.find(record.id)) return;
      await releaseSandbox(context, record);
      await context.store.sandboxes.delete(record.id);
    });
  } catch (error) {
    context.log.warn('what was made for a sandbox cannot be taken away, trying again', { id: record.id, error });
    context.clock.after(undoAgainMs, () => void undoCreation(context, record).catch(() => {}));
    throw error;
  }
}

async function attachNetwork(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  if (!record.namespaces.network) return;
  try {
    record.network = await stage('set up the network', () => context.network.attach(networkRequest(record)));
  } catch (cause) {
    throw stepFailed(`failed to set up network for sandbox "${record.id}"`, cause);
  }
}
