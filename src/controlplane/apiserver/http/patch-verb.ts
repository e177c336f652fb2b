import { checkBody, fieldValidationOf } from './decode-body.ts';
import { callerOf, type Exchange } from './exchange.ts';
import { applyPatch, parsePatch } from './patch.ts';
import { mediaType, readBody } from './read-body.ts';
import { addWarnings } from './respond.ts';
import { expectationFor, runUpdate } from './write-verbs.ts';

/** PATCH of an object or a subresource that is an object. */
export async function handlePatch(exchange: Exchange): Promise<void> {
  const { request, url } = exchange;
  const patch = await parsePatch(await readBody(request), mediaType(request));
  if (patch.kind === 'apply') {
    const { handleApply } = await import('./apply.ts');
    return handleApply(exchange, patch);
  }
  const validation = fieldValidationOf(url.searchParams);
  const expected = expectationFor(exchange);
  let warnings: string[] = [];
  const change = (current: any) => {
    const object = applyPatch(patch, current, expected.typeName);
    warnings = checkBody({ object, duplicates: [], binary: false }, expected, validation);
    addWarnings(exchange.response, warnings);
    return object;
  };
  await runUpdate(exchange, { caller: callerOf(exchange, { patch: true }), change });
}
