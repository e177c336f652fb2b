export { type ChainHook, NftablesBatch, type TableName } from './batch.ts';
export { nftablesGroup } from './constants.ts';
export { type DecodedExpression, decodeSteps } from './decode.ts';
export * from './expressions.ts';
export { type InspectedChain, type InspectedRule, NftablesInspector } from './inspector.ts';
export { type ListedChain, type ListedRule, NftablesSocket } from './socket.ts';
export {
  type FieldType,
  fieldsLength,
  paddedLengths,
  type SetDeclaration,
  type SetElement,
  type Verdict,
} from './types.ts';
