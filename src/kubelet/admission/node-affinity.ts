import {
  matchRequirements,
  type Node,
  type NodeAffinity,
  type NodeSelectorRequirement,
  type NodeSelectorTerm,
  type Requirement,
} from '../../api/index.ts';

const operators: Record<string, Requirement['operator']> = {
  In: 'In',
  NotIn: 'NotIn',
  Exists: 'Exists',
  DoesNotExist: 'DoesNotExist',
  Gt: 'GreaterThan',
  Lt: 'LessThan',
};

/** Whether the node fits what the pod requires of nodes: any of the terms, all of a term's expressions. */
export function matchesNodeAffinity(affinity: NodeAffinity | undefined, node: Node): boolean {
  const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return (required.nodeSelectorTerms ?? []).some((term) => matchesTerm(term, node));
}

function matchesTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm, node: Node): boolean {
  // A term without anything selects nothing.
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  const fields = { 'metadata.name': node.metadata.name ?? '' };
  return (
    matchRequirements(matchExpressions.map(toRequirement))(node.metadata.labels) &&
    matchRequirements(matchFields.map(toRequirement))(fields)
  );
}

function toRequirement({ key, operator, values = [] }: NodeSelectorRequirement): Requirement {
  return { key, operator: operators[operator] ?? 'In', values };
}
