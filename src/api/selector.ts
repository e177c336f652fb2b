import type { LabelSelector } from './generated/types.ts';

/** Decides whether a set of labels (or fields) is selected. */
export type Matcher = (labels: Readonly<Record<string, string>> | undefined) => boolean;

/** One requirement of a label selector, parsed. */
export interface Requirement {
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'GreaterThan' | 'LessThan';
  values: string[];
}

/** Raised for text that is no selector; the message is fit for a 400 answer. */
export class SelectorError extends Error {}

/** Whether the requirement holds for the labels. A missing key satisfies NotIn and DoesNotExist only. */
export function requirementHolds(r: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, r.key) ? labels[r.key] : undefined;
  switch (r.operator) {
    case 'In':
      return value !== undefined && r.values.includes(value);
    case 'NotIn':
      return value === undefined || !r.values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'GreaterThan':
      return value !== undefined && Number(value) > Number(r.values[0]);
    case 'LessThan':
      return value !== undefined && Number(value) < Number(r.values[0]);
  }
}

/** A matcher for parsed requirements; no requirement selects everything. */
export function matchRequirements(requirements: readonly Requirement[]): Matcher {
  return (labels) => requirements.every((r) => requirementHolds(r, labels ?? {}));
}

/**
 * The matcher of a LabelSelector object. As in the API: undefined selects nothing, an empty selector everything.
 * @throws SelectorError for an unknown operator
 */
export function matchLabelSelector(selector: LabelSelector | undefined): Matcher {
  if (selector === undefined) return () => false;
  return matchRequirements(labelSelectorRequirements(selector));
}

/** A LabelSelector object as requirements. */
export function labelSelectorRequirements(selector: LabelSelector): Requirement[] {
  const requirements: Requirement[] = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: 'In',
    values: [value],
  }));
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    if (!['In', 'NotIn', 'Exists', 'DoesNotExist'].includes(operator)) {
      throw new SelectorError(`${JSON.stringify(operator)} is not a valid label selector operator`);
    }
    requirements.push({ key, operator: operator as Requirement['operator'], values: values ?? [] });
  }
  return requirements;
}

/** Writes a LabelSelector object as the text that `?labelSelector=` takes. */
export function formatLabelSelector(selector: LabelSelector): string {
  return labelSelectorRequirements(selector).map(formatRequirement).join(',');
}

function formatRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(',')})`;
    case 'NotIn':
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${values.join(',')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    case 'GreaterThan':
      return `${key}>${values[0]}`;
    case 'LessThan':
      return `${key}<${values[0]}`;
  }
}

const setPattern = /^\s*([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)\s*$/;
const comparePattern = /^\s*([\w./-]+)\s*(==|!=|=|>|<)\s*([\w.-]*)\s*$/;
const existsPattern = /^\s*(!?)\s*([\w./-]+)\s*$/;
const comparison = { '=': 'In', '==': 'In', '!=': 'NotIn', '>': 'GreaterThan', '<': 'LessThan' } as const;

/**
 * Parses the text of `?labelSelector=`: `a=b,c!=d,e in (f,g),h,!i`.
 * @throws SelectorError naming the part that is wrong
 */
export function parseLabelSelector(text: string): Requirement[] {
  return splitOutsideParentheses(text).map(parseRequirement);
}

function parseRequirement(part: string): Requirement {
  const set = setPattern.exec(part);
  if (set) {
    const values = set[3]!.split(',').map((value) => value.trim());
    return { key: set[1]!, operator: set[2] === 'in' ? 'In' : 'NotIn', values };
  }
  const compare = comparePattern.exec(part);
  if (compare) {
    return { key: compare[1]!, operator: comparison[compare[2] as keyof typeof comparison], values: [compare[3]!] };
  }
  const exists = existsPattern.exec(part);
  if (exists) return { key: exists[2]!, operator: exists[1] ? 'DoesNotExist' : 'Exists', values: [] };
  throw new SelectorError(`unable to parse requirement: ${JSON.stringify(part)}`);
}

function splitOutsideParentheses(text: string): string[] {
  if (text.trim() === '') return [];
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')') depth--;
    else if (text[i] === ',' && depth === 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

/** One term of a field selector: `spec.nodeName=x` or `status.phase!=y`. */
export interface FieldTerm {
  field: string;
  equals: boolean;
  value: string;
}

/**
 * Parses the text of `?fieldSelector=`.
 * @throws SelectorError naming the part that is wrong
 */
export function parseFieldSelector(text: string): FieldTerm[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const match = /^\s*([^=!]+?)\s*(==|=|!=)\s*(.*?)\s*$/.exec(part);
      if (!match) throw new SelectorError(`invalid selector: '${text}'; can't understand '${part}'`);
      return { field: match[1]!, equals: match[2] !== '!=', value: match[3]! };
    });
}
