import type { Pod } from '../../api/index.ts';
import type { EventRecorder } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';

/** Says what happens to pods: to the API as Events, and to the log. */
export class PodEvents {
  readonly #recorder: EventRecorder | undefined;
  readonly #log: Logger;

  constructor(recorder: EventRecorder | undefined, log: Logger) {
    this.#recorder = recorder;
    this.#log = log;
  }

  /** Something that was meant to happen. With a container, the event points at it. */
  normal(pod: Pod, reason: string, message: string, container?: string): void {
    this.#write('Normal', pod, reason, message, container);
  }

  /** Something that a user should look at. */
  warning(pod: Pod, reason: string, message: string, container?: string, annotations?: Record<string, string>): void {
    this.#write('Warning', pod, reason, message, container, annotations);
  }

  #write(
    type: 'Normal' | 'Warning',
    pod: Pod,
    reason: string,
    message: string,
    container?: string,
    annotations?: Record<string, string>,
  ): void {
    const { namespace, name, uid, resourceVersion } = pod.metadata;
    const fields = { type, reason, pod: `${namespace}/${name}`, text: message, ...(container ? { container } : {}) };
    if (type === 'Warning') this.#log.info('pod event', fields);
    else this.#log.debug('pod event', fields);
    const reference = {
      apiVersion: 'v1',
      kind: 'Pod',
      ...(namespace ? { namespace } : {}),
      ...(name ? { name } : {}),
      ...(uid ? { uid } : {}),
      ...(resourceVersion ? { resourceVersion } : {}),
      ...(container ? { fieldPath: containerPath(pod, container) } : {}),
    };
    this.#recorder?.event(reference, type, reason, message, annotations);
  }
}

function containerPath(pod: Pod, name: string): string {
  const has = (list?: { name: string }[]) => list?.some((one) => one.name === name);
  if (has(pod.spec?.initContainers)) return `spec.initContainers{${name}}`;
  if (has(pod.spec?.ephemeralContainers)) return `spec.ephemeralContainers{${name}}`;
  return `spec.containers{${name}}`;
}
