import {
  type ContainerEventResponse,
  ContainerEventType,
  type Container as CriContainer,
  PodSandboxState,
} from '../../api/cri/index.ts';
import type { Clock } from '../../async/index.ts';
import { labels } from './names.ts';
import { isNotFound, type RuntimeClient } from './runtime-client.ts';
import {
  containerStateName,
  emptyRuntimePod,
  type RuntimeContainer,
  type RuntimePod,
  type RuntimeSandbox,
  toRuntimeContainer,
  toRuntimeSandbox,
} from './runtime-state.ts';
import { terminationMessage } from './termination-message.ts';

/** Order of a container's states: none is ever left for an earlier one. */
const rank: Record<RuntimeContainer['state'], number> = { created: 0, running: 1, unknown: 1, exited: 2 };

/** How long one call that only reads may take, milliseconds. */
const readTimeoutMs = 120_000;
/** How long a relist waits for the looks that it makes: one that hangs must not hide what else has changed, milliseconds. */
const lookPatienceMs = 2000;

interface Entry<T> {
  value: T;
  /** The turn in which it was last seen; a relist that began later and does not list it drops it. */
  turn: number;
}

/**
 * What the runtime has, by pod. Kept by events, by a look after each action of ours, and by relists.
 *
 * Invariants: a container never goes back to an earlier state, whatever the order in which answers and events arrive;
 * what was removed does not come back by an answer that was on its way; every change is told once, after it is visible.
 */
export class RuntimeCache {
  readonly #client: RuntimeClient;
  readonly #clock: Clock;
  readonly #onChange: (podUid: string, container?: RuntimeContainer) => void;
  readonly #sandboxes = new Map<string, Entry<RuntimeSandbox>>();
  readonly #containers = new Map<string, Entry<RuntimeContainer>>();
  readonly #byPod = new Map<string, { sandboxes: Set<string>; containers: Set<string> }>();
  readonly #removed = new Map<string, number>();
  /** What is listed and not known yet, by id, with its pod. */
  readonly #unread = new Map<string, string>();
  readonly #looking = new Set<string>();
  readonly #endWaiters = new Map<string, Set<() => void>>();
  #turn = 0;
  #relistedAt: number;

  constructor(client: RuntimeClient, clock: Clock, onChange: (podUid: string, container?: RuntimeContainer) => void) {
    this.#client = client;
    this.#clock = clock;
    this.#onChange = onChange;
    this.#relistedAt = clock.monotonic();
  }

  /** What the runtime has of a pod; empty when nothing. */
  pod(podUid: string): RuntimePod {
    const index = this.#byPod.get(podUid);
    const incomplete = this.#isIncomplete(podUid);
    if (!index) return { ...emptyRuntimePod(podUid), ...(incomplete ? { incomplete } : {}) };
    const sandboxes = [...index.sandboxes].map((id) => this.#sandboxes.get(id)!.value);
    const containers = [...index.containers].map((id) => this.#containers.get(id)!.value);
    sandboxes.sort((a, b) => b.attempt - a.attempt || b.createdAt - a.createdAt);
    // Times come last: a clock that was set back makes the newer container the older one.
    containers.sort((a, b) => b.restartCount - a.restartCount || b.createdAt - a.createdAt);
    const { podName: name = '', podNamespace: namespace = '' } = sandboxes[0] ?? {};
    return { uid: podUid, name, namespace, sandboxes, containers, ...(incomplete ? { incomplete } : {}) };
  }

  /** Calls back once when the container has ended or is gone (at once, if so). The result takes the call back. */
  onEnd(id: string, callback: () => void): () => void {
    const state = this.#containers.get(id)?.value.state;
    if (state === undefined || state === 'exited') {
      callback();
      return () => {};
    }
    const waiters = this.#endWaiters.get(id) ?? new Set();
    this.#endWaiters.set(id, waiters.add(callback));
    return () => {
      waiters.delete(callback);
      if (waiters.size === 0) this.#endWaiters.delete(id);
    };
  }

  /** The uids of all pods of which the runtime has something. */
  podUids(): string[] {
    return [...this.#byPod.keys()];
  }

  /** Whether the runtime has something of the pod. */
  has(podUid: string): boolean {
    return this.#byPod.has(podUid);
  }

  /** A container by its id. */
  container(id: string): RuntimeContainer | undefined {
    return this.#containers.get(id)?.value;
  }

  /** Milliseconds since the last relist that succeeded. */
  get ageMs(): number {
    return this.#clock.monotonic() - this.#relistedAt;
  }

  /** Looks at one sandbox again. */
  async refreshSandbox(id: string): Promise<void> {
    const turn = ++this.#turn;
    try {
      const { status } = await this.#client.runtime.podSandboxStatus(
        { podSandboxId: id },
        { timeoutMs: readTimeoutMs },
      );
      if (status) this.#putSandbox(toRuntimeSandbox(status), turn);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.forgetSandbox(id);
    }
  }

  /** Looks at one container again. */
  async refreshContainer(id: string, sandboxId: string): Promise<void> {
    const turn = ++this.#turn;
    try {
      const { status } = await this.#client.runtime.containerStatus({ containerId: id }, { timeoutMs: readTimeoutMs });
      if (status) await this.#putContainer(toRuntimeContainer(status, sandboxId), turn);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.forgetContainer(id);
    }
  }

  /** The container has been removed. */
  forgetContainer(id: string): void {
    this.#removed.set(id, ++this.#turn);
    this.#drop(this.#containers, id, 'containers');
  }

  /** The sandbox has been removed. */
  forgetSandbox(id: string): void {
    this.#removed.set(id, ++this.#turn);
    this.#drop(this.#sandboxes, id, 'sandboxes');
  }

  /** Looks at all of the runtime, or at one pod: two lists, and the status of what differs from what is known. */
  async relist(podUid?: string): Promise<void> {
    const turn = ++this.#turn;
    const filter = podUid ? { filter: { labelSelector: { [labels.podUid]: podUid } } } : {};
    const [sandboxes, containers] = await Promise.all([
      this.#client.runtime.listPodSandbox(filter, { timeoutMs: readTimeoutMs }),
      this.#client.runtime.listContainers(filter, { timeoutMs: readTimeoutMs }),
    ]);
    const listed = new Set<string>();
    const looks: Promise<void>[] = [];
    for (const one of sandboxes.items) {
      if (!one.labels[labels.podUid]) continue;
      listed.add(one.id);
      const known = this.#sandboxes.get(one.id);
      if (known?.value.ready === (one.state === PodSandboxState.SANDBOX_READY)) known.turn = turn;
      else looks.push(this.#look(one.id, one.labels[labels.podUid]!, () => this.refreshSandbox(one.id)));
    }
    for (const one of containers.containers) {
      if (!one.labels[labels.podUid]) continue;
      listed.add(one.id);
      const known = this.#containers.get(one.id);
      if (known && !this.#differs(known.value, one)) known.turn = turn;
      else
        looks.push(
          this.#look(one.id, one.labels[labels.podUid]!, () => this.refreshContainer(one.id, one.podSandboxId)),
        );
    }
    await this.#patiently(looks);
    this.#dropUnlisted(listed, turn, podUid);
    if (podUid === undefined) this.#relistedAt = this.#clock.monotonic();
  }

  /** Takes over what an event of the runtime carries. */
  async apply(event: ContainerEventResponse): Promise<void> {
    const turn = ++this.#turn;
    const id = event.containerId;
    if (event.containerEventType === ContainerEventType.CONTAINER_DELETED_EVENT) {
      if (this.#containers.has(id)) this.forgetContainer(id);
      else if (this.#sandboxes.has(id)) this.forgetSandbox(id);
      return;
    }
    const sandbox = event.podSandboxStatus ? toRuntimeSandbox(event.podSandboxStatus) : undefined;
    if (!sandbox?.podUid) return;
    this.#putSandbox(sandbox, turn);
    const container = event.containersStatuses.find((status) => status.id === id);
    if (container) await this.#putContainer(toRuntimeContainer(container, sandbox.id), turn);
    else if (id !== sandbox.id && this.#containers.has(id)) await this.refreshContainer(id, sandbox.id);
  }

  /** Looks at something that is listed; while that does not succeed, its pod counts as not fully known. */
  async #look(id: string, podUid: string, look: () => Promise<void>): Promise<void> {
    if (!this.#containers.has(id) && !this.#sandboxes.has(id)) this.#unread.set(id, podUid);
    if (this.#looking.has(id)) return;
    this.#looking.add(id);
    try {
      await look();
      if (this.#unread.delete(id)) this.#onChange(podUid);
    } catch {
      // The next relist looks again; until then the pod is incomplete, or what was known stays.
    } finally {
      this.#looking.delete(id);
    }
  }

  async #patiently(looks: Promise<void>[]): Promise<void> {
    if (looks.length === 0) return;
    const late = new AbortController();
    await Promise.race([Promise.all(looks), this.#clock.sleep(lookPatienceMs, late.signal).catch(() => {})]);
    late.abort();
  }

  #isIncomplete(podUid: string): boolean {
    if (this.#unread.size === 0) return false;
    for (const uid of this.#unread.values()) if (uid === podUid) return true;
    return false;
  }

  #differs(known: RuntimeContainer, listed: CriContainer): boolean {
    const state = containerStateName(listed.state);
    return state !== known.state && rank[state] >= rank[known.state];
  }

  #putSandbox(sandbox: RuntimeSandbox, turn: number): void {
    if (!sandbox.podUid || this.#isRemoved(sandbox.id, turn)) return;
    const known = this.#sandboxes.get(sandbox.id);
    if (known && !known.value.ready && sandbox.ready) return;
    this.#sandboxes.set(sandbox.id, { value: sandbox, turn });
    this.#indexOf(sandbox.podUid).sandboxes.add(sandbox.id);
    if (!known || known.value.ready !== sandbox.ready || known.value.ips[0] !== sandbox.ips[0]) {
      this.#onChange(sandbox.podUid);
    }
  }

  async #putContainer(container: RuntimeContainer, turn: number): Promise<void> {
    if (!container.podUid || this.#isRemoved(container.id, turn)) return;
    let known = this.#containers.get(container.id);
    if (known && rank[known.value.state] > rank[container.state]) return;
    if (container.state === 'exited') {
      if (known?.value.state === 'exited') container.message = known.value.message;
      else container.message = await terminationMessage(container);
      // Another answer may have come in while the message was read.
      if (this.#isRemoved(container.id, turn)) return;
      known = this.#containers.get(container.id);
      if (known?.value.state === 'exited') return;
      const elapsedMs = this.#clock.now() - (container.finishedAt || container.createdAt);
      container.endedMonotonic = this.#clock.monotonic() - Math.max(0, elapsedMs);
    }
    this.#containers.set(container.id, { value: container, turn });
    this.#indexOf(container.podUid).containers.add(container.id);
    if (known?.value.state !== container.state) this.#onChange(container.podUid, container);
    if (container.state === 'exited') this.#tellEnd(container.id);
  }

  #tellEnd(id: string): void {
    const waiters = this.#endWaiters.get(id);
    this.#endWaiters.delete(id);
    for (const callback of waiters ?? []) callback();
  }

  #isRemoved(id: string, turn: number): boolean {
    const at = this.#removed.get(id);
    return at !== undefined && at >= turn;
  }

  #indexOf(podUid: string): { sandboxes: Set<string>; containers: Set<string> } {
    let index = this.#byPod.get(podUid);
    if (!index) {
      index = { sandboxes: new Set(), containers: new Set() };
      this.#byPod.set(podUid, index);
    }
    return index;
  }

  #drop<T extends { podUid: string }>(entries: Map<string, Entry<T>>, id: string, kind: 'sandboxes' | 'containers') {
    const entry = entries.get(id);
    if (!entry) return;
    entries.delete(id);
    const { podUid } = entry.value;
    const index = this.#byPod.get(podUid);
    index?.[kind].delete(id);
    if (index && index.sandboxes.size + index.containers.size === 0) this.#byPod.delete(podUid);
    this.#onChange(podUid);
    this.#tellEnd(id);
  }

  #dropUnlisted(listed: Set<string>, turn: number, podUid?: string): void {
    const gone = (id: string, entry: Entry<{ podUid: string }>) =>
      !listed.has(id) && entry.turn < turn && (podUid === undefined || entry.value.podUid === podUid);
    for (const [id, entry] of this.#containers) if (gone(id, entry)) this.#drop(this.#containers, id, 'containers');
    for (const [id, entry] of this.#sandboxes) if (gone(id, entry)) this.#drop(this.#sandboxes, id, 'sandboxes');
    for (const [id, uid] of this.#unread) {
      if (!listed.has(id) && (podUid === undefined || uid === podUid)) this.#unread.delete(id);
    }
    if (podUid === undefined) for (const [id, at] of this.#removed) if (at < turn) this.#removed.delete(id);
  }
}
