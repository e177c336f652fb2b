export { BusConnection, BusError, type BusTarget } from './bus-connection.ts';
export type { BusMessage } from './message.ts';
export type { BusValue } from './values.ts';
