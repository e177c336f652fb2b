import columns from '../generated/columns.json' with { type: 'json' };

/** A column of the table that a server prints for a resource. */
export interface TableColumn {
  name: string;
  type: string;
  format: string;
  /** 0 is always shown, higher only with `-o wide`. */
  priority: number;
}

/** The columns of every resource that has its own, by `v1/pods`, `apps/v1/deployments`. */
export const tableColumns = columns as unknown as Readonly<Record<string, readonly TableColumn[]>>;
