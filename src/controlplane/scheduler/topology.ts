import {
  type LabelSelector,
  labelSelectorRequirements,
  type Matcher,
  matchRequirements,
  type Pod,
  type TopologySpreadConstraint,
} from '../../api/index.ts';
import type { ClusterState } from './cluster-state.ts';
import type { NodeInfo } from './node-info.ts';
import { podSelectsNode, type Refusal, tolerates } from './node-selection.ts';
import type { AffinityTerm, PodInfo } from './pod-info.ts';
import type { PodVolumeView } from './pod-volume-view.ts';

interface Spread {
  constraint: TopologySpreadConstraint;
  matches: Matcher;
  /** Matching pods by the value of the topology key. */
  counts: Map<string, number>;
  /** The pod itself counts where it lands, if it matches. */
  self: number;
}

/**
 * Where pods that matter to one pod's affinity, anti-affinity and spread are, by topology. Made once per scheduling
 * attempt; empty, and free, for pods without such rules in a cluster without any.
 */
export class TopologyState {
  readonly #affinity: { term: AffinityTerm; counts: Map<string, number> }[];
  readonly #antiAffinity: { term: AffinityTerm; values: Set<string> }[];
  /** `key=value` of domains where a running pod's anti-affinity forbids this pod. */
  readonly #forbidden = new Set<string>();
  readonly #spreads: Spread[];
  readonly #selfAffine: boolean;
  /** The pod's claims; undefined when it has none. */
  readonly volumes: PodVolumeView | undefined;

  constructor(info: PodInfo, cluster: ClusterState, nodes: readonly NodeInfo[]) {
    this.volumes = cluster.volumes?.viewOf(info);
    this.#affinity = info.affinity.map((term) => ({ term, counts: new Map() }));
    this.#antiAffinity = info.antiAffinity.map((term) => ({ term, values: new Set() }));
    this.#selfAffine = info.affinity.every((term) => cluster.selects(term, info.pod));
    this.#spreads = (info.pod.spec.topologySpreadConstraints ?? [])
      .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === 'DoNotSchedule')
      .map((constraint) => spreadOf(constraint, info.pod));
    const own = this.#affinity.length + this.#antiAffinity.length > 0;
    for (const node of nodes) {
      if (own) this.#countAffinity(node, cluster);
      if (node.antiAffinityPods > 0) this.#countForbidden(info, node, cluster);
      for (const spread of this.#spreads) countSpread(spread, info.pod, node);
    }
  }

  /** Why a DoNotSchedule spread constraint refuses the node. */
  refusesSpread(_info: PodInfo, { node }: NodeInfo): Refusal | undefined {
    for (const { constraint, counts, self } of this.#spreads) {
      const value = node?.metadata.labels?.[constraint.topologyKey];
      if (value === undefined) {
        const reason = "node(s) didn't match pod topology spread constraints (missing required label)";
        return { reasons: [reason], unresolvable: true };
      }
      const domains = [...counts.values()];
      const least = domains.length < (constraint.minDomains ?? 1) ? 0 : Math.min(...domains);
      if ((counts.get(value) ?? 0) + self - least > constraint.maxSkew) {
        return { reasons: ["node(s) didn't match pod topology spread constraints"], unresolvable: false };
      }
    }
    return undefined;
  }

  /** Why affinity between pods refuses the node. */
  refusesAffinity(_info: PodInfo, { node }: NodeInfo): Refusal | undefined {
    const labels = node?.metadata.labels ?? {};
    const near = this.#affinity.every(({ term, counts }) => {
      const value = labels[term.topologyKey];
      return value !== undefined && (counts.get(value) ?? 0) > 0;
    });
    if (!near && !this.#isFirstOfItsKind(labels)) {
      return { reasons: ["node(s) didn't match pod affinity rules"], unresolvable: true };
    }
    const apart = this.#antiAffinity.every(({ term, values }) => !values.has(labels[term.topologyKey] ?? '\0'));
    if (!apart) return { reasons: ["node(s) didn't match pod anti-affinity rules"], unresolvable: false };
    if (
      this.#forbidden.size > 0 &&
      Object.entries(labels).some(([key, value]) => this.#forbidden.has(`${key}=${value}`))
    )
      return { reasons: ["node(s) didn't satisfy existing pods anti-affinity rules"], unresolvable: false };
    return undefined;
  }

  /** A group of pods that want to be near each other must be able to begin: the first may go anywhere with the keys. */
  #isFirstOfItsKind(labels: Record<string, string>): boolean {
    if (!this.#selfAffine || this.#affinity.some(({ counts }) => counts.size > 0)) return false;
    return this.#affinity.every(({ term }) => labels[term.topologyKey] !== undefined);
  }
  #countAffinity(node: NodeInfo, cluster: ClusterState): void {
    const labels = node.node?.metadata.labels ?? {};
    for (const { pod } of node.pods.values()) {
      // All affinity terms must speak of the same pod.
      if (this.#affinity.length > 0 && this.#affinity.every(({ term }) => cluster.selects(term, pod))) {
        for (const { term, counts } of this.#affinity) {
          const value = labels[term.topologyKey];
          if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
        }
      }
      for (const { term, values } of this.#antiAffinity) {
        const value = labels[term.topologyKey];
        if (value !== undefined && cluster.selects(term, pod)) values.add(value);
      }
    }
  }
  #countForbidden(info: PodInfo, node: NodeInfo, cluster: ClusterState): void {
    const labels = node.node?.metadata.labels ?? {};
    for (const other of node.pods.values()) {
      for (const term of other.antiAffinity) {
        const value = labels[term.topologyKey];
        if (value !== undefined && cluster.selects(term, info.pod)) this.#forbidden.add(`${term.topologyKey}=${value}`);
      }
    }
  }
}

function spreadOf(constraint: TopologySpreadConstraint, pod: Pod): Spread {
  const selector: LabelSelector = constraint.labelSelector ?? {};
  const requirements = labelSelectorRequirements(selector);
  for (const key of constraint.matchLabelKeys ?? []) {
    const value = pod.metadata.labels?.[key];
    if (value !== undefined) requirements.push({ key, operator: 'In', values: [value] });
  }
  const matches = constraint.labelSelector ? matchRequirements(requirements) : () => false;
  return { constraint, matches, counts: new Map(), self: matches(pod.metadata.labels) ? 1 : 0 };
}

function countSpread({ constraint, matches, counts }: Spread, pod: Pod, { node, pods }: NodeInfo): void {
  const value = node?.metadata.labels?.[constraint.topologyKey];
  if (!node || value === undefined) return;
  if (constraint.nodeAffinityPolicy !== 'Ignore' && !podSelectsNode(pod, node)) return;
  if (constraint.nodeTaintsPolicy === 'Honor') {
    const hard = (node.spec?.taints ?? []).filter(({ effect }) => effect !== 'PreferNoSchedule');
    if (!hard.every((taint) => tolerates(pod.spec.tolerations, taint))) return;
  }
  let count = counts.get(value) ?? 0;
  for (const other of pods.values()) {
    const same = other.pod.metadata.namespace === pod.metadata.namespace && !other.pod.metadata.deletionTimestamp;
    if (same && matches(other.pod.metadata.labels)) count++;
  }
  counts.set(value, count);
}
