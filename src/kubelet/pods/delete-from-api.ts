import { type Pod, type PodStatus, resources } from '../../api/index.ts';
import { type ApiClient, isConflict, isNotFound } from '../../client/index.ts';
import { isTerminalPhase } from '../status/phase.ts';
import type { PodRecord } from './pod-record.ts';

/**
 * Deletes a pod that has ended here and is to go: the second phase of a deletion. Sets `gone` when the API has it no more.
 * @param known its status as the API has it; nothing is deleted whose end has not been written
 */
export async function deleteFromApi(
  client: ApiClient,
  record: PodRecord,
  { metadata }: Pod,
  known: PodStatus | undefined,
): Promise<void> {
  const { name = '', namespace = '', uid = '' } = metadata;
  if (known && !isTerminalPhase(known.phase))
    throw new Error(`the API has phase ${known.phase} of a pod that has ended`);
  try {
    await client.delete(resources.pods, name, { namespace, gracePeriodSeconds: 0, uid });
  } catch (error) {
    if (!isNotFound(error) && !isConflict(error)) throw error;
    // Already deleted: the watch will say so, or has.
    if (isNotFound(error)) record.gone = true;
  }
}
