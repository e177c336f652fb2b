import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch, PatchError } from '../../../api/patch/index.ts';
import { badRequest } from '../objects/errors.ts';
import { StatusError } from '../status-error.ts';
import { parseYaml } from './decode-body.ts';

/** A patch as it came, parsed. */
export interface ParsedPatch {
  kind: 'json' | 'merge' | 'strategic' | 'apply';
  value: any;
  text: string;
}

const kinds: Record<string, ParsedPatch['kind']> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
  'application/apply-patch+json': 'apply',
};

/** Reads the body of a patch. @throws StatusError 400, 415 */
export async function parsePatch(body: Buffer, contentType: string): Promise<ParsedPatch> {
  const kind = kinds[contentType];
  if (!kind) {
    throw new StatusError(
      415,
      'UnsupportedMediaType',
      'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml',
    );
  }
  const text = body.toString();
  if (kind === 'apply') return { kind, value: await parseYaml(text), text };
  try {
    const value = JSON.parse(text);
    if (kind !== 'json' && (typeof value !== 'object' || value === null || Array.isArray(value))) {
      throw new Error('a merge patch is an object');
    }
    return { kind, value, text };
  } catch (error) {
    throw badRequest(`error decoding patch: ${(error as Error).message}`);
  }
}

/** Applies a patch (not an apply configuration) to a copy of the object. @throws StatusError 400, 413, 422 */
export function applyPatch(patch: ParsedPatch, current: any, typeName: string): any {
  try {
    if (patch.kind === 'json') {
      const next = applyJsonPatch(current, patch.value);
      if (typeof next !== 'object' || next === null || Array.isArray(next)) {
        throw new PatchError('MALFORMED', 'the patched document is no object');
      }
      return next;
    }
    // Both share what they did not change with the patch: the copy keeps later changes out of it.
    const value = JSON.parse(patch.text);
    return patch.kind === 'merge'
      ? applyMergePatch(current, value)
      : applyStrategicMergePatch(current, value, typeName);
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    if (error.code === 'TOO_LARGE') throw new StatusError(413, 'RequestEntityTooLarge', error.message);
    if (error.code === 'MALFORMED' && patch.kind !== 'json') throw badRequest(error.message);
    throw new StatusError(422, 'Invalid', 'the server rejected our request due to an error in our request', {
      causes: [{ reason: 'UnexpectedServerResponse', message: error.message }],
    });
  }
}
