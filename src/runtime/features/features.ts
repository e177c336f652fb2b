import { basename } from 'node:path';
import { runProgram } from '../../host/exec/index.ts';
import { idMapProblem, recursiveReadOnlyProblem } from '../../host/mounts/index.ts';
import { openUserNamespace } from '../../host/namespaces/index.ts';
import { ociRuntimeOf, type RuntimeContext } from '../context.ts';
import { messageOf, notFound } from '../errors.ts';

/** What containers of a runtime handler can have on this machine; a problem is the reason why they cannot. */
export interface HandlerFeatures {
  userNamespaceProblem?: string;
  recursiveReadOnlyProblem?: string;
  /** What the program says of itself; undefined when it cannot say. */
  oci?: OciFeatures;
}

/** What an OCI runtime says it can do (`features`, of the runtime specification 1.1). */
export interface OciFeatures {
  mountOptions: readonly string[];
  namespaces: readonly string[];
  hooks: readonly string[];
}

const known = new WeakMap<RuntimeContext, Map<string, Promise<HandlerFeatures>>>();

/**
 * What the handler (an empty name is the default) can do, found out by trying: the kernel, the file system of the
 * images, and the OCI runtime. Found out once for each program. @throws RuntimeError NOT_FOUND for an unknown handler
 */
export function featuresOf(context: RuntimeContext, handler: string): Promise<HandlerFeatures> {
  const runtime = ociRuntimeOf(context, handler);
  if (!runtime) throw notFound('runtime handler', handler);
  const probes = known.get(context) ?? new Map<string, Promise<HandlerFeatures>>();
  known.set(context, probes);
  const found = probes.get(runtime.path) ?? probe(context, runtime.path);
  probes.set(runtime.path, found);
  return found;
}

async function probe(context: RuntimeContext, program: string): Promise<HandlerFeatures> {
  const [oci, kernelUserNamespaces] = await Promise.all([
    askRuntime(context, program),
    userNamespaceProblem(context.settings.root),
  ]);
  const runtimeUserNamespaces =
    oci && !oci.namespaces.includes('user') ? `${program} does not support them` : undefined;
  const kernelReadOnly = recursiveReadOnlyProblem(context.settings.state);
  const runtimeReadOnly = oci && !oci.mountOptions.includes('rro') ? `${program} does not support them` : undefined;
  const [user, readOnly] = [kernelUserNamespaces ?? runtimeUserNamespaces, kernelReadOnly ?? runtimeReadOnly];
  return {
    ...(oci ? { oci } : {}),
    ...(user ? { userNamespaceProblem: user } : {}),
    ...(readOnly ? { recursiveReadOnlyProblem: readOnly } : {}),
  };
}

/** Makes a user namespace, and a view of the images with its owners. */
async function userNamespaceProblem(root: string): Promise<string | undefined> {
  const ids = [{ containerId: 0, hostId: 65_536, length: 65_536 }];
  try {
    using namespace = await openUserNamespace({ uids: ids, gids: ids });
    const problem = idMapProblem(root, namespace.descriptor);
    return problem && `the file system of ${root} cannot be mounted with other owners (${problem})`;
  } catch (cause) {
    return messageOf(cause);
  }
}

async function askRuntime(context: RuntimeContext, program: string): Promise<OciFeatures | undefined> {
  const options = { timeoutMs: 10_000, clock: context.clock };
  const { status, stdout } = await runProgram([program, 'features'], options);
  if (status === 0) return parseOciFeatures(stdout.toString('utf8'));
  // crun before 1.9 has no such command; its version tells.
  if (!/^crun/.test(basename(program))) return undefined;
  const version = await runProgram([program, '--version'], options);
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(version.stdout.toString('utf8')) ?? [];
  const isRecent = Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 4);
  return { mountOptions: isRecent ? ['rro'] : [], namespaces: ['user'], hooks: [] };
}

/** Reads the answer of `features`; undefined when it is none. */
export function parseOciFeatures(text: string): OciFeatures | undefined {
  try {
    const answer = JSON.parse(text) as {
      mountOptions?: string[];
      hooks?: string[];
      linux?: { namespaces?: string[] };
    };
    return {
      mountOptions: answer.mountOptions ?? [],
      namespaces: answer.linux?.namespaces ?? [],
      hooks: answer.hooks ?? [],
    };
  } catch {
    return undefined;
  }
}
