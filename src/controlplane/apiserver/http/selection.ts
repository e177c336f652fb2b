import { matchRequirements, parseFieldSelector, parseLabelSelector, SelectorError } from '../../../api/index.ts';
import { objectOf, type Stored } from '../../store/index.ts';
import type { Core } from '../core.ts';
import { badRequest } from '../objects/errors.ts';
import type { ResourceInfo } from '../resource-table.ts';

/** Which objects of a resource a request wants. */
export interface Selection {
  /** Undefined: all namespaces. */
  namespace: string | undefined;
  /** Undefined: any name. */
  name: string | undefined;
  /** Beyond namespace and name; undefined selects all. */
  matches: ((stored: Stored) => boolean) | undefined;
  /** Equal for equal selections. */
  key: string;
}

/** What the query selects. @throws StatusError 400 for a selector that is malformed or of an unknown field */
export function parseSelection(
  core: Core,
  info: ResourceInfo,
  namespace: string,
  pathName: string,
  query: URLSearchParams,
): Selection {
  const labels = query.get('labelSelector') ?? '';
  const fields = query.get('fieldSelector') ?? '';
  const scope = namespace === '' ? undefined : namespace;
  const key = JSON.stringify([namespace, pathName, labels, fields]);
  if (labels === '' && fields === '') {
    return { namespace: scope, name: pathName || undefined, matches: undefined, key };
  }
  try {
    const matchers: ((stored: Stored) => boolean)[] = [];
    if (labels !== '') {
      const matcher = matchRequirements(parseLabelSelector(labels));
      matchers.push((stored) => matcher(objectOf(stored).metadata.labels));
    }
    const { name, matcher } = parseFields(core, info, fields);
    if (matcher) matchers.push(matcher);
    const matches = matchers.length > 0 ? (stored: Stored) => matchers.every((one) => one(stored)) : undefined;
    return { namespace: scope, name: pathName || name, matches, key };
  } catch (error) {
    if (error instanceof SelectorError) throw badRequest(error.message);
    throw error;
  }
}

function parseFields(core: Core, info: ResourceInfo, text: string) {
  const selectable = core.extensions.rules[info.storage.key]?.selectableFields;
  const known = new Set(['metadata.name', 'metadata.namespace', ...Object.keys(selectable?.(emptyObject) ?? {})]);
  let name: string | undefined;
  const rest = parseFieldSelector(text).filter((term) => {
    if (!known.has(term.field)) {
      const names = [...known].map((one) => JSON.stringify(one)).join(', ');
      throw badRequest(`${JSON.stringify(term.field)} is not a known field selector: only ${names}`);
    }
    if (term.field !== 'metadata.name' || !term.equals || name !== undefined) return true;
    name = term.value;
    return false;
  });
  if (rest.length === 0) return { name, matcher: undefined };
  const matcher = (stored: Stored): boolean => {
    const special = selectable?.(objectOf(stored)) ?? {};
    return rest.every(({ field, equals, value }) => {
      const own =
        field === 'metadata.name'
          ? stored.name
          : field === 'metadata.namespace'
            ? stored.namespace
            : (special[field] ?? '');
      return (own === value) === equals;
    });
  };
  return { name, matcher };
}

/** Stands for any object when rules are asked which fields they can select by. */
const emptyObject = Object.freeze({
  metadata: Object.freeze({ name: '' }),
  spec: Object.freeze({}),
  status: Object.freeze({}),
  involvedObject: Object.freeze({}),
  source: Object.freeze({}),
});

/** Whether the object is selected. */
export function isSelected(selection: Selection, stored: Stored): boolean {
  if (selection.namespace !== undefined && stored.namespace !== selection.namespace) return false;
  if (selection.name !== undefined && stored.name !== selection.name) return false;
  return selection.matches?.(stored) ?? true;
}
