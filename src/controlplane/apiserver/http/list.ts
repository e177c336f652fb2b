import type { ServerResponse } from '../../../wire/http/index.ts';
import { checkRevision, type Stored } from '../../store/index.ts';
import type { Core } from '../core.ts';
import { badRequest } from '../objects/errors.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { invalid, StatusError } from '../status-error.ts';
import type { Encoding } from './negotiate.ts';
import { type ListMetadata, sendList } from './respond.ts';
import { isSelected, type Selection } from './selection.ts';

/** Where the next page of a list begins. */
interface ContinueToken {
  /** Revision of the snapshot; -1 for whatever is there now. */
  revision: number;
  /** `namespace/name` of the last object that was sent. */
  after: string;
}

function encodeToken({ revision, after }: ContinueToken): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start: after })).toString('base64url');
}

function decodeToken(text: string): ContinueToken {
  try {
    const { rv, start } = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (Number.isInteger(rv) && typeof start === 'string') return { revision: rv, after: start };
  } catch {
    // Falls through to the refusal.
  }
  throw badRequest('continue key is not valid: the token was not made by this server');
}

/** 410 for a page of a snapshot that is gone; carries a token to go on with from what is there now. */
class ExpiredTokenError extends StatusError {
  readonly #token: string;

  constructor(token: string) {
    super(
      410,
      'Expired',
      'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
    );
    this.#token = token;
  }
  override toStatus() {
    return { ...super.toStatus(), metadata: { continue: this.#token } };
  }
}

/** A whole number from the query, not negative; 0 when absent. */
export function numberOf(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? '';
  if (text === '') return 0;
  if (!/^\d{1,15}$/.test(text)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax (parameter ${name})`);
  }
  return Number(text);
}

/** Lists (and pages) the selected objects. */
export async function listObjects(
  core: Core,
  response: ServerResponse,
  info: ResourceInfo,
  selection: Selection,
  query: URLSearchParams,
  encoding: Encoding,
): Promise<void> {
  const limit = numberOf(query, 'limit');
  const page = readPage(core, info, selection, query);
  const selected = page.items.filter((stored) => isSelected(selection, stored));
  const items = limit > 0 ? selected.slice(0, limit) : selected;
  const metadata: ListMetadata = { resourceVersion: String(page.revision) };
  const remaining = selected.length - items.length;
  if (remaining > 0) {
    const last = items.at(-1)!;
    metadata.continue = encodeToken({ revision: page.revision, after: `${last.namespace}/${last.name}` });
    if (!selection.matches) metadata.remainingItemCount = remaining;
  }
  await sendList(core, response, info, items, metadata, encoding);
}

/** The objects (of the selection's namespace) that the page is cut from, and the revision they are of. */
function readPage(
  core: Core,
  info: ResourceInfo,
  selection: Selection,
  query: URLSearchParams,
): { items: readonly Stored[]; revision: number } {
  const { store } = core;
  const collection = store.collection(info.storage.key);
  const text = query.get('continue') ?? '';
  if (text !== '') {
    if (query.get('resourceVersion')) {
      throw badRequest('specifying resource version is not allowed when using continue');
    }
    const token = decodeToken(text);
    if (token.revision >= 0 && token.revision < store.compacted) {
      throw new ExpiredTokenError(encodeToken({ revision: -1, after: token.after }));
    }
    if (token.revision > store.revision) throw badRequest('continue key is not valid: it is of the future');
    const revision = token.revision < 0 ? store.revision : token.revision;
    const [namespace = '', name = ''] = token.after.split('/');
    const later = (one: Stored) => one.namespace > namespace || (one.namespace === namespace && one.name > name);
    return { items: collection.listAt(revision, selection.namespace).filter(later), revision };
  }
  const wanted = checkListVersion(info, query);
  if (wanted > 0)
    checkRevision(store, query.get('resourceVersionMatch') === 'Exact' ? wanted : Math.max(wanted, store.compacted));
  if (wanted > 0 && query.get('resourceVersionMatch') === 'Exact') {
    return { items: collection.listAt(wanted, selection.namespace), revision: wanted };
  }
  if (selection.name !== undefined && selection.namespace !== undefined) {
    const one = collection.get(selection.namespace, selection.name);
    return { items: one ? [one] : [], revision: store.revision };
  }
  return { items: collection.list(selection.namespace), revision: store.revision };
}

/** The query's resourceVersion as a number. @throws StatusError 400, 422 */
export function versionOf(info: ResourceInfo, query: URLSearchParams): number {
  const text = query.get('resourceVersion') ?? '';
  if (text === '') return 0;
  if (!/^\d{1,15}$/.test(text)) {
    throw invalid(info.group, info.kind, '', [
      {
        field: 'resourceVersion',
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
      },
    ]);
  }
  return Number(text);
}

function checkListVersion(info: ResourceInfo, query: URLSearchParams): number {
  const match = query.get('resourceVersionMatch') ?? '';
  const version = versionOf(info, query);
  if (match === '') return version;
  const given = query.get('resourceVersion') ?? '';
  const problem =
    match !== 'Exact' && match !== 'NotOlderThan'
      ? `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan"`
      : given === ''
        ? 'Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided'
        : match === 'Exact' && version === 0
          ? 'Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
          : '';
  if (problem === '') return version;
  throw listOptionsInvalid('resourceVersionMatch', problem);
}

/** 422 for options of a list or watch. */
export function listOptionsInvalid(field: string, message: string): StatusError {
  const reason = message.startsWith('Forbidden') ? 'FieldValueForbidden' : 'FieldValueNotSupported';
  return invalid('meta.k8s.io', 'ListOptions', '', [{ field, reason, message }]);
}
