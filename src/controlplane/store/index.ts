export { Collection, checkRevision, objectOf, type StoreChange, type Stored } from './collection.ts';
export { createMemoryLog, type LogContents, type LogRow, type LogStore } from './log-store.ts';
export { openSqliteLog } from './sqlite-log.ts';
export { Store, type StoreOptions, type StoreWrite } from './store.ts';
export { StoreError, type StoreErrorCode } from './store-error.ts';
