import { copyFile, mkdir, mkdtemp, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { runProgram } from '../../host/exec/index.ts';
import { stage } from '../calls/index.ts';
import { ociRuntimeOf, type RuntimeContext } from '../context.ts';
import { invalid, messageOf, notFound, notInState, RuntimeError, unlessMissing } from '../errors.ts';
import { findProgram } from '../settings/index.ts';
import type { ContainerRecord } from '../store/container-record.ts';
import { removeTree } from '../store/json-file.ts';
import { describeOciFailure } from './conmon.ts';

/** How long it may take when the caller does not say, milliseconds. */
const defaultTimeoutMs = 10 * 60_000;

/**
 * Writes the memory of a container that runs, and what it changed on disk, to an archive; the container goes on. The
 * archive has the layout that Kubernetes' tools know: `checkpoint/`, `spec.dump`, `config.dump`, `rootfs-diff.tar`.
 * @throws RuntimeError UNIMPLEMENTED where CRIU is missing, or cannot work with this kernel
 */
export async function checkpointContainer(
  context: RuntimeContext,
  record: ContainerRecord,
  options: { location: string; timeoutSeconds: number },
): Promise<void> {
  await refuseWithoutCriu(context, record.id);
  if (!options.location.startsWith('/')) throw invalid('location must be an absolute path of a file');
  if (await unlessMissing(stat(options.location))) throw invalid(`location ${options.location} is there already`);
  const timeoutMs = options.timeoutSeconds > 0 ? options.timeoutSeconds * 1000 : defaultTimeoutMs;
  await context.serial.run(record.id, async () => {
    if (record.phase.name !== 'running') throw notInState(`container "${record.id}" is not running`);
    await mkdir(dirname(options.location), { recursive: true });
    const work = await mkdtemp(`${options.location}.`);
    try {
      await stage('dump the processes', () => dump(context, record, work, timeoutMs));
      await describe(context, record, work);
      const upper = context.rootfs.changesOf(record.id);
      await tar(context, ['-C', upper, '-cf', join(work, 'rootfs-diff.tar'), '.'], timeoutMs);
      const archive = `${work}.tar`;
      await stage('pack the archive', () => tar(context, ['-C', work, '-cf', archive, '.'], timeoutMs));
      await rename(archive, options.location);
    } finally {
      await removeTree(work);
      await removeTree(`${work}.tar`);
    }
  });
}

async function refuseWithoutCriu(context: RuntimeContext, id: string): Promise<void> {
  const refusal = (why: string) =>
    new RuntimeError('UNIMPLEMENTED', `container "${id}" cannot be checkpointed: ${why}`);
  const criu = findProgram('criu');
  if (!criu) throw refusal('criu is not installed');
  const { status, stderr } = await runProgram([criu, 'check'], { timeoutMs: 20_000, clock: context.clock });
  const lines = stderr.toString('utf8').trim().split('\n');
  if (status !== 0) throw refusal(`criu cannot work with this kernel: ${lines.at(-1)}`);
}

async function dump(context: RuntimeContext, record: ContainerRecord, work: string, timeoutMs: number): Promise<void> {
  const runtime = ociRuntimeOf(context, record.runtimeHandler);
  if (!runtime) throw notFound('runtime handler', record.runtimeHandler);
  const images = join(work, 'checkpoint');
  await mkdir(images);
  const options = ['--image-path', images, '--work-path', work, '--leave-running', '--tcp-established', '--file-locks'];
  const argv = [runtime.path, `--root=${context.paths.ociRoot}`, 'checkpoint', ...options, record.id];
  const { status, stderr, timedOut } = await runProgram(argv, { timeoutMs, clock: context.clock });
  if (timedOut) throw new RuntimeError('DEADLINE_EXCEEDED', `the checkpoint was not done after ${timeoutMs / 1000} s`);
  if (status !== 0) throw new RuntimeError('UNKNOWN', describeOciFailure(stderr.toString('utf8')));
}

async function describe(context: RuntimeContext, record: ContainerRecord, work: string): Promise<void> {
  const { config, image } = record;
  const facts = {
    id: record.id,
    name: config.metadata?.name,
    rootfsImage: config.image?.userSpecifiedImage || config.image?.image,
    rootfsImageRef: image.reference,
    rootfsImageName: config.image?.image,
    runtime: record.runtimeHandler,
    createdTime: new Date(Number(record.createdAtNs / 1_000_000n)).toISOString(),
    checkpointedTime: new Date(context.clock.now()).toISOString(),
  };
  await writeFile(join(work, 'config.dump'), JSON.stringify(facts));
  await copyFile(join(context.paths.bundle(record.id), 'config.json'), join(work, 'spec.dump'));
}

async function tar(context: RuntimeContext, argv: readonly string[], timeoutMs: number): Promise<void> {
  try {
    const { status, stderr } = await runProgram(['tar', ...argv], { timeoutMs, clock: context.clock });
    if (status !== 0) throw new Error(stderr.toString('utf8').trim());
  } catch (cause) {
    throw new RuntimeError('UNKNOWN', `cannot write the archive: ${messageOf(cause)}`, { cause });
  }
}
