export { ConntrackSocket, type Flow, type FlowDirection } from './conntrack.ts';
