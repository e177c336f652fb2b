import { type ApiObject, type Namespace, type NamespaceCondition, type Pod, resources } from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import { isConflict, isNotFound, resourcePath } from '../../../client/index.ts';
import {
  apiTime,
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
  sameJson,
} from '../framework/controller.ts';
import { DiscoveryCache, type ServedResource } from '../framework/discovery.ts';
import type { Store } from '../framework/store.ts';

const finalizer = 'kubernetes';
/** Content that is still going is looked at again after this long, milliseconds, or sooner when a pod is gone. */
const againMs = 1_000;

/** What was found in one look at a namespace that is to go. */
interface Emptying {
  undiscovered: string[];
  failures: string[];
  /** Objects left by resource, and finalizers that hold them. */
  remaining: Map<string, number>;
  finalizers: Map<string, number>;
}

/** Empties namespaces that are being deleted, then lets them go. */
export function startNamespaceController(context: ControllerContext): Controller {
  return new NamespaceController(context);
}

class NamespaceController implements Controller {
  readonly #context: ControllerContext;
  readonly #namespaces: Store<Namespace>;
  readonly #pods: Store<Pod>;
  readonly #discovery: DiscoveryCache;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#namespaces = this.#context.informers.store<Namespace>(resources.namespaces);
    this.#pods = this.#context.informers.store<Pod>(resources.pods);
    this.#discovery = new DiscoveryCache(this.#context.client, this.#context.clock);
    this.#queue = createControllerQueue(this.#context, {
      name: 'namespace',
      stores: [this.#namespaces, this.#pods],
      handle: (key) => this.#handle(key),
    });
    const onNamespace = this.#namespaces.subscribe(
      (key, now) => now?.metadata.deletionTimestamp && this.#queue.add(key),
    );
    const onPod = this.#pods.subscribe((_key, now, before) => {
      const { namespace = '' } = before?.metadata ?? {};
      if (now || !this.#namespaces.get(namespace)?.metadata.deletionTimestamp) return;
      if (this.#pods.by('namespace', namespace).length === 0) this.#queue.add(namespace);
    });
    this.#parts = controllerOfParts([this.#queue], [onNamespace, onPod]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  async #emptyOne(served: ServedResource, namespace: string, found: Emptying): Promise<void> {
    const name = served.group ? `${served.plural}.${served.group}` : `${served.plural}.`;
    try {
      const { items } = await this.#context.client.list<ApiObject>(served, { namespace, limit: 500 });
      if (items.length === 0) return;
      if (items.some((item) => !item.metadata.deletionTimestamp)) {
        if (served.verbs.includes('deletecollection')) {
          await this.#context.client.request('DELETE', resourcePath(served, { namespace }), { body: deleteOptions });
        } else
          await Promise.all(
            items.map((item) => this.#context.client.delete(served, item.metadata.name, { namespace })),
          );
      }
      const left = await this.#context.client.list<ApiObject>(served, { namespace, limit: 500 });
      if (left.items.length > 0) found.remaining.set(name, left.items.length);
      for (const one of left.items.flatMap((item) => item.metadata.finalizers ?? [])) {
        found.finalizers.set(one, (found.finalizers.get(one) ?? 0) + 1);
      }
    } catch (error) {
      if (!isNotFound(error)) found.failures.push(`${name} ${(error as Error).message}`);
    }
  }

  async #empty(namespace: string): Promise<Emptying> {
    const { resources: served, failed } = await this.#discovery.get();
    const found: Emptying = { undiscovered: failed, failures: [], remaining: new Map(), finalizers: new Map() };
    const deletable = served.filter(
      ({ namespaced, verbs, group, plural }) =>
        // Events of core and of events.k8s.io are the same objects.
        namespaced &&
        verbs.includes('list') &&
        verbs.includes('delete') &&
        `${group}/${plural}` !== 'events.k8s.io/events',
    );
    const lanes = Array.from({ length: 8 }, async () => {
      for (let next = deletable.pop(); next; next = deletable.pop()) await this.#emptyOne(next, namespace, found);
    });
    await Promise.all(lanes);
    return found;
  }

  async #handle(name: string): Promise<void> {
    const namespace = this.#namespaces.get(name);
    if (!namespace?.metadata.deletionTimestamp) return;
    if (!(namespace.spec?.finalizers ?? []).includes(finalizer)) return;
    const found = await this.#empty(name);
    const current = await this.#context.client.get(resources.namespaces, name);
    const conditions = emptyingConditions(found, current.status?.conditions ?? [], this.#context.clock.now());
    const done = found.remaining.size === 0 && found.failures.length === 0 && found.undiscovered.length === 0;
    if (!done) {
      if (!sameJson(conditions, current.status?.conditions)) {
        const status = { ...current.status, phase: 'Terminating', conditions };
        await this.#namespaces.update({ ...current, status }, { subresource: 'status' });
      }
      this.#queue.addAfter(name, againMs);
      return;
    }
    const finalizers = (current.spec?.finalizers ?? []).filter((one) => one !== finalizer);
    try {
      await this.#context.client.update(
        resources.namespaces,
        { ...current, spec: { ...current.spec, finalizers } },
        { subresource: 'finalize' },
      );
      await this.#context.client.delete(resources.namespaces, name, { uid: current.metadata.uid });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }
}

const deleteOptions = { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Background' };

/** The conditions that tell why a namespace is still there. */
function emptyingConditions(found: Emptying, before: readonly NamespaceCondition[], now: number): NamespaceCondition[] {
  const list = (counts: Map<string, number>, join: string) =>
    [...counts]
      .sort()
      .map(([name, count]) => `${name}${join}${count} resource instances`)
      .join(', ');
  const { remaining, finalizers, failures, undiscovered } = found;
  const facts: [string, boolean, [string, string], [string, string]][] = [
    [
      'NamespaceDeletionDiscoveryFailure',
      undiscovered.length > 0,
      ['DiscoveryFailed', `Discovery failed for some groups: ${undiscovered.join(', ')}`],
      ['ResourcesDiscovered', 'All resources successfully discovered'],
    ],
    [
      'NamespaceDeletionGroupVersionParsingFailure',
      false,
      ['', ''],
      ['ParsedGroupVersions', 'All legacy kube types successfully parsed'],
    ],
    [
      'NamespaceDeletionContentFailure',
      failures.length > 0,
      [
        'ContentDeletionFailed',
        `Failed to delete all resource types, ${failures.length} remaining: ${failures.join(', ')}`,
      ],
      ['ContentDeleted', 'All content successfully deleted, may be waiting on finalization'],
    ],
    [
      'NamespaceContentRemaining',
      remaining.size > 0,
      ['SomeResourcesRemain', `Some resources are remaining: ${list(remaining, ' has ')}`],
      ['ContentRemoved', 'All content successfully removed'],
    ],
    [
      'NamespaceFinalizersRemaining',
      finalizers.size > 0,
      ['SomeFinalizersRemain', `Some content in the namespace has finalizers remaining: ${list(finalizers, ' in ')}`],
      ['ContentHasNoFinalizers', 'All content-preserving finalizers finished'],
    ],
  ];
  return facts.map(([type, bad, badText, goodText]) => {
    const [reason, message] = bad ? badText : goodText;
    const status = bad ? 'True' : 'False';
    const old = before.find((condition) => condition.type === type);
    const lastTransitionTime = old?.status === status && old.lastTransitionTime ? old.lastTransitionTime : apiTime(now);
    return { type, status, reason, message, lastTransitionTime };
  });
}
