import assert from 'node:assert/strict';
import { type GrpcCode, GrpcError } from '../../../src/wire/grpc/index.ts';

/** Makes sure that a call fails with one of some codes, and, when given, with words in its message. */
export async function fails(call: Promise<unknown>, codes: readonly GrpcCode[], words?: RegExp): Promise<void> {
  let result: unknown;
  try {
    result = await call;
  } catch (error) {
    assert.ok(error instanceof GrpcError, `not a gRPC error: ${error}`);
    assert.ok(codes.includes(error.code), `expected ${codes.join(' or ')}, not ${error.code}: ${error.message}`);
    if (words) assert.match(error.message, words);
    return;
  }
  assert.fail(
    `it should have failed with ${codes.join(' or ')}, and gave ${String(JSON.stringify(result, (_, value) => (typeof value === 'bigint' ? String(value) : value))).slice(0, 200)}`,
  );
}

/** Codes of a request that is refused for what it says. Go runtimes give UNKNOWN for most of these. */
export const refused: readonly GrpcCode[] = ['INVALID_ARGUMENT', 'UNKNOWN', 'INTERNAL', 'FAILED_PRECONDITION'];

/** Codes of a request for something that is there, but not in a state for it. */
export const notNow: readonly GrpcCode[] = ['FAILED_PRECONDITION', 'UNKNOWN', 'INTERNAL'];

/** Codes of a name that is taken. */
export const taken: readonly GrpcCode[] = ['ALREADY_EXISTS', 'UNKNOWN', 'FAILED_PRECONDITION'];
