import type { ServerResponse } from '../../../wire/http/index.ts';
import { objectOf, type Stored } from '../../store/index.ts';
import type { Core } from '../core.ts';
import { fromStorage } from '../objects/conversion.ts';
import type { ResourceInfo } from '../resource-table.ts';
import type { StatusError } from '../status-error.ts';
import type { Encoding } from './negotiate.ts';
import { partialOf, tableOf, tableRow } from './table.ts';

const json = 'application/json';

/** Writes a whole answer. */
export function send(response: ServerResponse, status: number, type: string, body: Buffer | string): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': bytes.length });
  response.end(bytes);
}

/** Writes a plain JSON document. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  send(response, status, json, JSON.stringify(value));
}

/** Writes a value in the client's encoding. */
export async function sendValue(response: ServerResponse, status: number, value: unknown, encoding: Encoding) {
  if (encoding.yaml) {
    const yaml = await import('yaml');
    send(response, status, 'application/yaml', yaml.stringify(value));
  } else send(response, status, json, encoding.pretty ? `${JSON.stringify(value, null, 2)}\n` : JSON.stringify(value));
}

/** Writes an error as a Status. */
export function sendError(response: ServerResponse, error: StatusError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (error.retryAfterSeconds !== undefined) response.setHeader('Retry-After', String(error.retryAfterSeconds));
  if (error.code === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="kubernetes"');
  // The rest of a body that was not read must not be taken for the next request.
  if (!response.req.complete) response.setHeader('Connection', 'close');
  sendJson(response, error.code, error.toStatus());
}

/** Adds a warning that kubectl shows (RFC 7234, code 299). */
export function addWarnings(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  const texts = warnings.map((text) => `299 - "${text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`);
  response.setHeader('Warning', texts);
}

/** Whether stored bytes can be sent as they are. */
function isPlain(info: ResourceInfo, encoding: Encoding): boolean {
  return encoding.form === 'object' && !encoding.yaml && !encoding.pretty && info.storage === info;
}

/** Writes one object in the form that the client wants. */
export async function sendStored(
  core: Core,
  response: ServerResponse,
  status: number,
  info: ResourceInfo,
  stored: Stored,
  encoding: Encoding,
): Promise<void> {
  if (isPlain(info, encoding)) return send(response, status, json, stored.bytes);
  return sendValue(response, status, formOf(core, info, stored, encoding), encoding);
}

/** One object as a value in the form that the client wants. */
export function formOf(core: Core, info: ResourceInfo, stored: Stored, encoding: Encoding): unknown {
  switch (encoding.form) {
    case 'table':
      return tableOf(core, info, [tableRow(core, info, stored, encoding.includeObject)], {
        resourceVersion: objectOf(stored).metadata.resourceVersion,
      });
    case 'partial':
      return partialOf(objectOf(stored));
    case 'object':
      return fromStorage(info, objectOf(stored));
  }
}

/** Metadata of a list. */
export interface ListMetadata {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

const comma = Buffer.from(',');

/** Writes a list in the form that the client wants. */
export async function sendList(
  core: Core,
  response: ServerResponse,
  info: ResourceInfo,
  items: readonly Stored[],
  metadata: ListMetadata,
  encoding: Encoding,
): Promise<void> {
  if (isPlain(info, encoding)) {
    const head = JSON.stringify({ kind: `${info.kind}List`, apiVersion: info.apiVersion, metadata });
    const parts: Buffer[] = [Buffer.from(`${head.slice(0, -1)},"items":[`)];
    for (const item of items) {
      if (parts.length > 1) parts.push(comma);
      parts.push(item.bytes);
    }
    parts.push(Buffer.from(']}\n'));
    return send(response, 200, json, Buffer.concat(parts));
  }
  return sendValue(response, 200, listValue(core, info, items, metadata, encoding), encoding);
}

function listValue(
  core: Core,
  info: ResourceInfo,
  items: readonly Stored[],
  metadata: ListMetadata,
  encoding: Encoding,
): object {
  switch (encoding.form) {
    case 'table':
      return tableOf(
        core,
        info,
        items.map((item) => tableRow(core, info, item, encoding.includeObject)),
        metadata,
      );
    case 'partial':
      return {
        kind: 'PartialObjectMetadataList',
        apiVersion: 'meta.k8s.io/v1',
        metadata,
        items: items.map((item) => partialOf(objectOf(item))),
      };
    case 'object':
      return {
        kind: `${info.kind}List`,
        apiVersion: info.apiVersion,
        metadata,
        items: items.map((item) => fromStorage(info, objectOf(item))),
      };
  }
}
