import type { IncomingMessage, ServerResponse } from '../../../wire/http/index.ts';
import type { Caller, Core } from '../core.ts';
import type { UserInfo } from '../extension-points.ts';
import { badRequest } from '../objects/errors.ts';
import type { Encoding } from './negotiate.ts';
import type { RequestTarget } from './request-target.ts';

/** One request for a resource on its way through the server. */
export interface Exchange {
  core: Core;
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  target: RequestTarget & { kind: 'resource' };
  verb: string;
  user: UserInfo;
  encoding: Encoding;
}

/** Who writes and how, from the query. @throws StatusError 400 */
export function callerOf(exchange: Exchange, options: Record<string, unknown> = {}): Caller {
  const { url, user, request } = exchange;
  const query = url.searchParams;
  const dryRun = query.getAll('dryRun').filter((one) => one !== '');
  if (dryRun.some((one) => one !== 'All')) {
    throw badRequest(`invalid dryRun ${JSON.stringify(dryRun.join(','))}: supported values: "All"`);
  }
  const fieldManager = query.get('fieldManager') ?? (request.headers['user-agent'] ?? 'unknown').split('/')[0]!;
  if (fieldManager.length > 128) throw badRequest('fieldManager: Too long: may not be more than 128 bytes');
  return { user, dryRun: dryRun.length > 0, fieldManager, options: { fieldManager, ...options } };
}
