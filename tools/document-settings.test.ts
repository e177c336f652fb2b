import assert from 'node:assert/strict';
import { test } from 'node:test';
import { currentDocumentation, updateDocumentation } from './document-settings.ts';

test('docs/runtime.md tells every setting as it is: if not, run `node tools/document-settings.ts`', () => {
  const text = currentDocumentation();
  assert.equal(text, updateDocumentation(text));
});
