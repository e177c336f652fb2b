import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GrpcError } from './grpc-error.ts';

test('an error keeps its code, an abort is CANCELLED, others are UNKNOWN', () => {
  assert.equal(GrpcError.from(new GrpcError('NOT_FOUND', 'x')).code, 'NOT_FOUND');
  assert.equal(GrpcError.from(Object.assign(new Error('x'), { code: 5 })).code, 'NOT_FOUND');
  assert.equal(GrpcError.from(new DOMException('x', 'AbortError')).code, 'CANCELLED');
  assert.equal(GrpcError.from('x').code, 'UNKNOWN');
});

test('where the undoing fails too, the work itself says what was wrong', async () => {
  const work = async (): Promise<void> => {
    await using stack = new AsyncDisposableStack();
    stack.defer(() => Promise.reject(new Error('cannot undo')));
    throw new GrpcError('INVALID_ARGUMENT', 'no such thing');
  };
  const error = await work().then(() => undefined, GrpcError.from);
  assert.equal(error?.code, 'INVALID_ARGUMENT');
  assert.equal(error?.message, 'no such thing (and then: cannot undo)');
});
