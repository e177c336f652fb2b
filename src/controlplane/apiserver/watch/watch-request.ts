import { checkRevision } from '../../store/index.ts';
import type { Core } from '../core.ts';
import { listOptionsInvalid, numberOf, versionOf } from '../http/list.ts';
import type { Encoding } from '../http/negotiate.ts';
import { isTrue } from '../http/request-target.ts';
import type { Selection } from '../http/selection.ts';
import type { ResourceInfo } from '../resource-table.ts';
import type { WatchRequest } from './watch-hub.ts';

/** Without timeoutSeconds a watch ends after 30 to 60 minutes, so that clients spread. */
const defaultTimeoutMs = 1_800_000;

/**
 * Reads a watch from the query.
 * @throws StatusError 400, 422, 504; StoreError COMPACTED when changes since the revision are gone
 */
export function parseWatch(
  core: Core,
  info: ResourceInfo,
  selection: Selection,
  query: URLSearchParams,
  encoding: Encoding,
): WatchRequest {
  const text = query.get('resourceVersion') ?? '';
  const version = versionOf(info, query);
  const match = query.get('resourceVersionMatch') ?? '';
  const asked = query.get('sendInitialEvents');
  const bookmarks = isTrue(query.get('allowWatchBookmarks'));
  if (asked !== null && match !== 'NotOlderThan') {
    throw listOptionsInvalid(
      'resourceVersionMatch',
      'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
    );
  }
  if (asked === null && match !== '') {
    throw listOptionsInvalid(
      'resourceVersionMatch',
      'Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
    );
  }
  const sendInitial = asked === null ? text === '' || text === '0' : isTrue(asked);
  if (version > 0) checkRevision(core.store, sendInitial ? Math.max(version, core.store.compacted) : version);
  const timeoutSeconds = numberOf(query, 'timeoutSeconds');
  return {
    info,
    selection,
    encoding,
    from: version > 0 ? version : undefined,
    initial: sendInitial,
    initialEndsWithBookmark: asked !== null && sendInitial && bookmarks,
    bookmarks,
    timeoutMs: timeoutSeconds > 0 ? timeoutSeconds * 1000 : defaultTimeoutMs * (1 + Math.random()),
  };
}
