import {
  matchRequirements,
  type Node,
  type NodeSelector,
  type NodeSelectorTerm,
  type Pod,
  type Requirement,
  type Taint,
  type Toleration,
} from '../../api/index.ts';

/** Why a node cannot take a pod. Unresolvable: not even if other pods left it. */
export interface Refusal {
  reasons: string[];
  unresolvable: boolean;
}

/** Whether one of the tolerations accepts the taint. */
export function tolerates(tolerations: readonly Toleration[] | undefined, taint: Taint): boolean {
  return (tolerations ?? []).some((toleration) => tolerationMatches(toleration, taint));
}

/** Whether a toleration accepts a taint. An empty key with Exists accepts every taint, an empty effect every effect. */
export function tolerationMatches({ key, operator, value, effect }: Toleration, taint: Taint): boolean {
  if (effect && effect !== taint.effect) return false;
  if (key && key !== taint.key) return false;
  switch (operator || 'Equal') {
    case 'Exists':
      return true;
    case 'Equal':
      return Boolean(key) && (value ?? '') === (taint.value ?? '');
    case 'Lt':
      return Number(taint.value) < Number(value);
    case 'Gt':
      return Number(taint.value) > Number(value);
    default:
      return false;
  }
}

/** Whether the pod's nodeSelector and required node affinity accept the node. */
export function podSelectsNode(pod: Pod, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  for (const [key, value] of Object.entries(pod.spec.nodeSelector ?? {})) if (labels[key] !== value) return false;
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return !required || selectsNode(required, node);
}

/** Whether one of the terms accepts the node. */
export function selectsNode(selector: NodeSelector, node: Node): boolean {
  return selector.nodeSelectorTerms.some((term) => termAccepts(term, node));
}

const operators: Record<string, Requirement['operator']> = {
  In: 'In',
  NotIn: 'NotIn',
  Exists: 'Exists',
  DoesNotExist: 'DoesNotExist',
  Gt: 'GreaterThan',
  Lt: 'LessThan',
};

/** Whether every expression and field of the term holds; an empty term accepts nothing. */
export function termAccepts(term: NodeSelectorTerm, node: Node): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  const parse = (list: typeof matchExpressions): Requirement[] | undefined => {
    if (list.some(({ operator }) => !operators[operator])) return undefined;
    return list.map(({ key, operator, values = [] }) => ({ key, operator: operators[operator]!, values }));
  };
  const expressions = parse(matchExpressions);
  const fields = parse(matchFields);
  if (!expressions || !fields) return false;
  return (
    matchRequirements(expressions)(node.metadata.labels) &&
    matchRequirements(fields)({ 'metadata.name': node.metadata.name })
  );
}
