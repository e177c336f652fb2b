import { StatusError } from '../status-error.ts';
import type { Exchange } from './exchange.ts';
import type { ParsedPatch } from './patch.ts';

/** Server-side apply. */
export async function handleApply(_exchange: Exchange, _patch: ParsedPatch): Promise<void> {
  throw new StatusError(415, 'UnsupportedMediaType', 'apply patches are not supported yet');
}
