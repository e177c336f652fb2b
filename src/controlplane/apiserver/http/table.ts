import { type TableColumn, tableColumns } from '../../../api/columns/index.ts';
import { objectOf, type Stored } from '../../store/index.ts';
import type { Core } from '../core.ts';
import { fromStorage } from '../objects/conversion.ts';
import type { ResourceInfo } from '../resource-table.ts';
import type { Encoding } from './negotiate.ts';

/** As a Table carries it. */
type Column = TableColumn & { description: string };

const plain: Column[] = [
  { name: 'Name', type: 'string', format: 'name', description: 'Name of the object', priority: 0 },
  { name: 'Age', type: 'string', format: '', description: 'Time since the object was created', priority: 0 },
];

const cache = new Map<string, Column[]>();

/** The columns of a resource's table. */
export function columnsOf(core: Core, info: ResourceInfo): Column[] {
  if (!core.extensions.rules[info.storage.key]?.tableCells) return plain;
  let columns = cache.get(info.apiVersion + info.plural);
  if (!columns) {
    const known = tableColumns[`${info.apiVersion}/${info.plural}`];
    columns = known?.map((column) => ({ ...column, description: column.name })) ?? plain;
    cache.set(info.apiVersion + info.plural, columns);
  }
  return columns;
}

/** One row: cells, and as much of the object as the client wants. */
export function tableRow(core: Core, info: ResourceInfo, stored: Stored, include: Encoding['includeObject']): object {
  const object = objectOf(stored);
  const now = core.clock.now();
  const cells = core.extensions.rules[info.storage.key]?.tableCells?.(object, now) ?? [
    stored.name,
    formatAge(object.metadata.creationTimestamp, now),
  ];
  if (include === 'None') return { cells };
  return { cells, object: include === 'Object' ? fromStorage(info, object) : partialOf(object) };
}

/** A Table of the rows. */
export function tableOf(core: Core, info: ResourceInfo, rows: object[], metadata: object): object {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: columnsOf(core, info),
    rows,
  };
}

/** An object's metadata alone. */
export function partialOf(object: any): object {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}

/** How long ago, as kubectl prints it: 5s, 3m20s, 5h, 2d. */
export function formatAge(timestamp: string | undefined, now: number): string {
  if (!timestamp) return '<unknown>';
  const seconds = Math.max(0, Math.floor((now - Date.parse(timestamp)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  return years < 8 && days % 365 !== 0 ? `${years}y${days % 365}d` : `${years}y`;
}
