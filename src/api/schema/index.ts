export { type DecodeResult, DecodeTypeError, decodeStructure } from './decode.ts';
export { findDuplicateFields } from './duplicates.ts';
export {
  type FieldSchema,
  type ResourceRow,
  resourceRows,
  type Shape,
  type TypeSchema,
  typeNamed,
  typeNameOf,
  typeNames,
} from './schema.ts';
