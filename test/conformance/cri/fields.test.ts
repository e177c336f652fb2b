import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DescMessage, DescService } from '@bufbuild/protobuf';
import { ImageService, RuntimeService } from '../../../src/api/cri/index.ts';
import { References } from '../../support/references.ts';
import { fieldExceptions } from './field-exceptions.ts';

const declarations = 'src/api/cri/generated/runtime_pb.d.ts';
const methods = [RuntimeService, ImageService].flatMap((service) => (service as DescService).methods);

/** The messages that requests, or responses, can hold. */
function reachable(from: readonly DescMessage[]): Set<string> {
  const found = new Map<string, DescMessage>();
  const visit = (message: DescMessage): void => {
    if (found.has(message.name)) return;
    found.set(message.name, message);
    for (const field of message.fields) if (field.message) visit(field.message);
  };
  from.forEach(visit);
  return new Set(found.keys());
}

/** Where each field is declared. */
function placesOf(): { message: string; field: string; line: number }[] {
  const lines = readFileSync(join(import.meta.dirname, '../../..', declarations), 'utf8').split('\n');
  let message = '';
  return lines.flatMap((text, line) => {
    message = /^export declare type (\w+) = Message</.exec(text)?.[1] ?? message;
    const field = /^ {2}(\w+)\??: /.exec(text)?.[1];
    return field && message ? [{ message, field, line }] : [];
  });
}

test('all 41 calls have a handler, and no field of any message is passed over', async (t) => {
  assert.equal(methods.length, 41);
  const [requests, responses] = [
    reachable(methods.map(({ input }) => input)),
    reachable(methods.map(({ output }) => output)),
  ];
  using references = await References.start([declarations, 'src/runtime/index.ts']);
  const unused: string[] = [];
  const used = new Set<string>();
  for (const { message, field, line } of placesOf()) {
    if (!requests.has(message) && !responses.has(message)) continue;
    const name = `${message}.${field}`;
    const files = (await references.of(declarations, line, 2)).filter(
      (file) => file.startsWith('src/runtime/') && !/\.(test|suite)\.ts$|\/testing\//.test(file),
    );
    if (files.length > 0) used.add(name);
    else if (!(name in fieldExceptions) && !(`${message}.*` in fieldExceptions))
      unused.push(`${name} (${requests.has(message) ? 'nothing reads it' : 'nothing writes it'})`);
  }
  assert.ok(used.size > 250, `the language server found uses of ${used.size} fields only`);
  assert.deepEqual(unused, []);
  const stale = Object.keys(fieldExceptions).filter((name) => used.has(name));
  for (const name of stale) t.diagnostic(`an exception that is not needed any more: ${name}`);
});
