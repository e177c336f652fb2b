export { type ChainHook, NftablesBatch, type TableName } from './batch.ts';
export { nftablesGroup } from './constants.ts';
export * from './expressions.ts';
export { type ListedChain, type ListedRule, NftablesSocket } from './socket.ts';
export type { FieldType, SetDeclaration, SetElement, Verdict } from './types.ts';
