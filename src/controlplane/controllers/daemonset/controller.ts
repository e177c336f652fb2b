import {
  type ControllerRevision,
  controllerOf,
  type DaemonSet,
  type DaemonSetStatus,
  matchLabelSelector,
  type Node,
  objectKey,
  type Pod,
  resources,
} from '../../../api/index.ts';
import { actClaims, type Claimant, claimCandidates, planClaims, slowStart } from '../framework/claims.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  controllerReference,
  createControllerQueue,
  sameJson,
} from '../framework/controller.ts';
import { isPodAvailable, isPodReady, podFromTemplate, untilAvailable } from '../framework/pods.ts';
import { revisionHash, revisionHashLabel, syncRevision, trimRevisions } from '../framework/revisions.ts';
import { type DaemonFacts, nodeWants, pinnedSpec, planDaemons, podsByNode } from './plan.ts';

const generationLabel = 'pod-template-generation';

/** Keeps one pod of each DaemonSet on every node that it is for. */
export function startDaemonSetController(context: ControllerContext): Controller {
  const sets = context.informers.store<DaemonSet>(resources.daemonsets);
  const pods = context.informers.store<Pod>(resources.pods);
  const nodes = context.informers.store<Node>(resources.nodes);
  const revisions = context.informers.store<ControllerRevision>(resources.controllerrevisions);
  const events = context.events('daemonset-controller');

  const createPod = async (set: DaemonSet, node: string, hash: string): Promise<void> => {
    const draft = podFromTemplate(set.spec!.template);
    const generation = set.metadata.annotations?.['deprecated.daemonset.template.generation'];
    const labels = {
      ...draft.metadata.labels,
      [revisionHashLabel]: hash,
      ...(generation ? { [generationLabel]: generation } : {}),
    };
    try {
      const pod = await pods.create({
        metadata: {
          ...draft.metadata,
          labels,
          namespace: set.metadata.namespace!,
          generateName: `${set.metadata.name}-`,
          ownerReferences: [controllerReference(set, 'apps/v1', 'DaemonSet')],
        },
        spec: pinnedSpec(draft.spec, node),
      });
      events.event(set, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
    } catch (error) {
      events.event(set, 'Warning', 'FailedCreate', `Error creating: ${(error as Error).message}`);
      throw error;
    }
  };
  const act = async (set: DaemonSet, facts: DaemonFacts): Promise<void> => {
    const plan = planDaemons(facts);
    for (const pod of plan.failed) {
      const message = `Found failed daemon pod ${objectKey(pod)} on node ${pod.spec.nodeName}, will try to kill it`;
      events.event(set, 'Warning', 'FailedDaemonPod', message);
    }
    await Promise.all(
      plan.remove.map(async (pod) => {
        await pods.delete(pod);
        events.event(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
      }),
    );
    const { error } = await slowStart(plan.create.length, (index) => createPod(set, plan.create[index]!, facts.hash));
    if (error) throw error;
  };

  const handle = async (key: string): Promise<void> => {
    const set = sets.get(key);
    if (!set?.spec || set.metadata.deletionTimestamp) return;
    const claimant: Claimant = {
      owner: set,
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      matches: matchLabelSelector(set.spec.selector),
    };
    await actClaims(claimant, planClaims(claimant, claimCandidates(pods, set)), pods);
    const known = await syncRevision(set, 'DaemonSet', revisions);
    const hash = revisionHash(known.current);
    const factsNow = (): DaemonFacts => ({
      set,
      nodes: nodes.list(),
      pods: pods.by('owner', set.metadata.uid),
      hash,
      now: context.clock.now(),
    });
    let problem: unknown;
    try {
      await act(set, factsNow());
    } catch (error) {
      problem = error;
    }
    const facts = factsNow();
    const status = daemonStatus(facts, known.collisionCount);
    if (!sameJson(status, set.status)) await sets.update({ ...set, status }, { subresource: 'status' });
    const inUse = new Set(facts.pods.map(({ metadata }) => metadata.labels?.[revisionHashLabel] ?? ''));
    await trimRevisions(known, set.spec.revisionHistoryLimit ?? 10, inUse, revisions);
    for (const pod of facts.pods) {
      const left = untilAvailable(pod, set.spec.minReadySeconds ?? 0, facts.now);
      if (left) queue.addAfter(key, left);
    }
    if (problem) throw problem;
  };
  const queue = createControllerQueue(context, { name: 'daemonset', stores: [sets, pods, nodes, revisions], handle });
  const onSet = sets.subscribe((key) => queue.add(key));
  const onPod = pods.subscribe((_key, now, before) => {
    for (const pod of [now, before]) {
      const owner = pod && controllerOf(pod);
      if (owner?.kind === 'DaemonSet') queue.add(`${pod!.metadata.namespace}/${owner.name}`);
    }
  });
  const onNode = nodes.subscribe((_key, now, before) => {
    const view = (node: Node | undefined) => JSON.stringify([node?.metadata.labels, node?.spec]);
    if (view(now) !== view(before)) for (const set of sets.list()) queue.add(objectKey(set));
  });
  return controllerOfParts([queue], [onSet, onPod, onNode]);
}

function daemonStatus(
  { set, nodes, pods, hash, now }: DaemonFacts,
  collisionCount: number | undefined,
): DaemonSetStatus {
  const byNode = podsByNode(pods);
  const count = { desired: 0, current: 0, misscheduled: 0, ready: 0, available: 0, updated: 0 };
  for (const node of nodes) {
    const here = (byNode.get(node.metadata.name) ?? []).filter((pod) => !pod.metadata.deletionTimestamp);
    const { run } = nodeWants(set, node);
    if (!run) {
      if (here.length > 0) count.misscheduled++;
      continue;
    }
    count.desired++;
    if (here.length === 0) continue;
    count.current++;
    const best =
      here.find((pod) => isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, now)) ?? here.find(isPodReady) ?? here[0]!;
    if (isPodReady(best)) count.ready++;
    if (isPodAvailable(best, set.spec?.minReadySeconds ?? 0, now)) count.available++;
    if (here.some(({ metadata }) => metadata.labels?.[revisionHashLabel] === hash)) count.updated++;
  }
  const collisions = collisionCount ?? set.status?.collisionCount;
  const unavailable = count.desired - count.available;
  return {
    ...(set.status?.conditions ? { conditions: set.status.conditions } : {}),
    currentNumberScheduled: count.current,
    numberMisscheduled: count.misscheduled,
    desiredNumberScheduled: count.desired,
    numberReady: count.ready,
    observedGeneration: set.metadata.generation ?? 0,
    ...(count.updated ? { updatedNumberScheduled: count.updated } : {}),
    ...(count.available ? { numberAvailable: count.available } : {}),
    ...(unavailable ? { numberUnavailable: unavailable } : {}),
    ...(collisions ? { collisionCount: collisions } : {}),
  };
}
