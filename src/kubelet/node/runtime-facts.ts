import type { ContainerImage } from '../../api/index.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import type { RuntimeFacts } from './node-status.ts';

/** Asks the runtime what it is and how it is. Never throws: a runtime that does not answer is a problem to report. */
export async function readRuntimeFacts(client: RuntimeClient, known: RuntimeFacts | undefined): Promise<RuntimeFacts> {
  try {
    const [version, status] = await Promise.all([
      known?.version ? undefined : client.runtime.version({ version: 'v1' }, { timeoutMs: 10_000 }),
      client.runtime.status({}, { timeoutMs: 10_000 }),
    ]);
    const condition = (type: string) => status.status?.conditions.find((one) => one.type === type);
    const problemOf = (type: string, text: string): string | undefined => {
      const found = condition(type);
      return found?.status
        ? undefined
        : `${text}: status of ${type} is ${found ? `false reason:${found.reason} message:${found.message}` : 'missing'}`;
    };
    return {
      version: version ? `${version.runtimeName}://${version.runtimeVersion}` : known!.version,
      problem: problemOf('RuntimeReady', 'container runtime is down'),
      networkProblem: problemOf('NetworkReady', 'container runtime network not ready'),
      handlers: status.runtimeHandlers.map(({ name, features }) => ({
        name,
        recursiveReadOnlyMounts: features?.recursiveReadOnlyMounts ?? false,
        userNamespaces: features?.userNamespaces ?? false,
      })),
      supplementalGroupsPolicy: status.features?.supplementalGroupsPolicy ?? false,
    };
  } catch (error) {
    const problem = `container runtime is down: ${error instanceof Error ? error.message : String(error)}`;
    return { version: '', handlers: [], supplementalGroupsPolicy: false, networkProblem: undefined, ...known, problem };
  }
}

/** The largest images of the node, for its status. */
export async function readImages(client: RuntimeClient, maximum: number): Promise<ContainerImage[]> {
  const { images } = await client.images.listImages({}, { timeoutMs: 30_000 });
  const listed = images.map(({ repoTags, repoDigests, size }) => ({
    names: [...repoDigests, ...repoTags].slice(0, 5),
    sizeBytes: Number(size),
  }));
  listed.sort((a, b) => b.sizeBytes - a.sizeBytes);
  return maximum < 0 ? listed : listed.slice(0, maximum);
}
