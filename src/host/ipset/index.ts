export { IpsetSocket } from './ipset-socket.ts';
export { type KernelSet, memberText, type SetDefinition, type SetMember, type SetType } from './types.ts';
