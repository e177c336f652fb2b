import type { Clock } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import type { Store } from '../store/index.ts';
import type { Extensions, Registry, UserInfo } from './extension-points.ts';
import type { ResourceTable } from './resource-table.ts';

/** What every part of the API server shares. */
export interface Core {
  store: Store;
  resources: ResourceTable;
  extensions: Extensions;
  registry: Registry;
  clock: Clock;
  log: Logger;
}

/** Who writes, and how. */
export interface Caller {
  user: UserInfo;
  dryRun: boolean;
  /** Names the writer in managedFields; by default the client's program name. */
  fieldManager: string;
  /** The query's options, for admission. */
  options: Record<string, unknown>;
  /** Past admission and validation: the server itself. */
  internal?: boolean;
  /** The write has put the managedFields in order itself. */
  tracksFields?: boolean;
  /** The managedFields of an object that is created by being applied. */
  managedFields?: object[];
}

/** The time as metadata carries it: RFC 3339, whole seconds. */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
