import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { NamespaceMode, type UserNamespaceSchema } from '../../api/cri/index.ts';
import type { Node, Pod } from '../../api/index.ts';
import { PodError } from '../errors.ts';
import type { IdRange } from './id-range.ts';

/** What the runtime is told about the users of a pod. */
export type UserNamespace = MessageInitShape<typeof UserNamespaceSchema>;

/** What the keeper of ranges needs. */
export interface UserNamespacesOptions {
  /** The kubelet's root directory. */
  root: string;
  /** Ids that pods may have, a multiple of `idsPerPod`. */
  range: IdRange;
  idsPerPod: number;
  node: () => Node | undefined;
}

/** A mapping as the file has it. */
interface Mapping {
  hostId: number;
  containerId: number;
  length: number;
}

const fileName = 'userns';

/**
 * Gives pods with `hostUsers: false` ranges of ids of their own. A pod's range is in its directory (`userns`, as upstream
 * writes it) before the sandbox is made, and goes with the directory: what is taken is known from the disk alone.
 */
export class UserNamespaces {
  readonly #options: UserNamespacesOptions;
  /** Ranges by pod uid, also of pods whose file is being written. */
  readonly #used = new Map<string, IdRange>();
  readonly #writing = new Set<string>();
  #read = false;

  constructor(options: UserNamespacesOptions) {
    this.#options = options;
  }

  /** The namespace of a pod that has one; that of the host for others. What has no range yet gets none. */
  known(pod: Pod): UserNamespace {
    if (pod.spec.hostUsers !== false) return { mode: NamespaceMode.NODE };
    this.#readAll();
    const range = this.#used.get(pod.metadata.uid);
    if (!range) {
      // Running it in the host's user namespace would take away the protection that was asked for.
      throw new PodError('CreateContainerConfigError', 'the user namespace of the pod is not known');
    }
    return namespaceOf(range);
  }

  /**
   * The same, and a range for a pod that has none yet.
   * @param handler name of the runtime handler that is to run it
   * @throws PodError CreatePodSandboxConfigError in upstream's words where that cannot be
   */
  async of(pod: Pod, handler: string): Promise<UserNamespace> {
    if (pod.spec.hostUsers !== false) return { mode: NamespaceMode.NODE };
    this.#checkHandler(handler);
    try {
      this.#readAll();
      const { uid } = pod.metadata;
      const known = this.#used.get(uid);
      if (known) return namespaceOf(known);
      const range = this.#allocate(uid);
      await this.#write(uid, range);
      return namespaceOf(range);
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new PodError('CreatePodSandboxConfigError', `create user namespace: ${text}`, { cause });
    }
  }

  #checkHandler(handler: string): void {
    const handlers = this.#options.node()?.status?.runtimeHandlers ?? [];
    const found = handlers.find(({ name = '' }) => name === handler);
    if (found?.features?.userNamespaces) return;
    const who = handler === '' ? 'runtime' : `RuntimeClass handler ${JSON.stringify(handler)}`;
    const unknown = found ? '' : `: the handler ${JSON.stringify(handler)} is not known`;
    const text = `can't set \`spec.hostUsers: false\`, ${who} does not support user namespaces${unknown}`;
    throw new PodError('CreatePodSandboxConfigError', text);
  }

  /** The lowest range that nobody has any of: pods from before may have ranges of another length. */
  #allocate(uid: string): IdRange {
    this.#forgetGone();
    const { range, idsPerPod: length } = this.#options;
    const taken = [...this.#used.values()];
    for (let first = range.first; first + length <= range.first + range.length; first += length) {
      if (taken.some((one) => first < one.first + one.length && one.first < first + length)) continue;
      const own = { first, length };
      this.#used.set(uid, own);
      return own;
    }
    throw new Error('could not find an empty slot to allocate a user namespace');
  }

  /** Ranges of pods whose directories have gone are free again. */
  #forgetGone(): void {
    for (const uid of this.#used.keys())
      if (!this.#writing.has(uid) && !existsSync(this.#file(uid))) this.#used.delete(uid);
  }

  async #write(uid: string, { first, length }: IdRange): Promise<void> {
    const mapping: Mapping[] = [{ hostId: first, containerId: 0, length }];
    const directory = join(this.#options.root, 'pods', uid);
    this.#writing.add(uid);
    try {
      await mkdir(directory, { recursive: true, mode: 0o750 });
      const temporary = join(directory, `.${fileName}`);
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile(JSON.stringify({ uidMappings: mapping, gidMappings: mapping }));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#file(uid));
      await syncDirectory(directory);
    } catch (error) {
      this.#used.delete(uid);
      throw error;
    } finally {
      this.#writing.delete(uid);
    }
  }

  #file(uid: string): string {
    return join(this.#options.root, 'pods', uid, fileName);
  }

  /** Finds the ranges that pods have from before this process. One that cannot be read stops all: it may be anybody's. */
  #readAll(): void {
    if (this.#read) return;
    const pods = join(this.#options.root, 'pods');
    for (const uid of existsSync(pods) ? readdirSync(pods) : []) {
      const range = this.#readOne(uid);
      if (range) this.#used.set(uid, range);
    }
    this.#read = true;
  }

  #readOne(uid: string): IdRange | undefined {
    let text: string;
    try {
      text = readFileSync(this.#file(uid), 'utf8');
    } catch {
      return undefined;
    }
    const { uidMappings = [], gidMappings = [] } = JSON.parse(text) as Record<string, Mapping[]>;
    const [mapping] = uidMappings;
    const same = JSON.stringify(uidMappings) === JSON.stringify(gidMappings);
    if (!mapping || uidMappings.length !== 1 || !same || mapping.containerId !== 0)
      throw new Error(`invalid user namespace mappings file of pod ${uid}`);
    return { first: mapping.hostId, length: mapping.length };
  }
}

function namespaceOf({ first, length }: IdRange): UserNamespace {
  const mapping = [{ hostId: first, containerId: 0, length }];
  return { mode: NamespaceMode.POD, uids: mapping, gids: mapping };
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
