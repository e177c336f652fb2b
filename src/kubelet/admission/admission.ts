import type { Pod } from '../../api/index.ts';
import { SerialRunner } from '../../async/index.ts';
import { describeError } from '../errors.ts';
import type { PodFailure } from '../pods/pod-record.ts';

/**
 * One that has a say in whether the node takes a pod, and may set something aside for it (processors, memory, devices).
 * Handlers are asked one after another, one pod at a time.
 */
export interface AdmitHandler {
  /** For logs. */
  readonly name: string;
  /**
   * Why the node does not take the pod, or undefined. May be called again for a pod that it has let in: then it gives
   * what it gave before. What it throws becomes the reason UnexpectedAdmissionError.
   * @param others the pods that the node has taken, with the resources that they were given
   */
  admit(pod: Pod, others: readonly Pod[]): PodFailure | undefined | Promise<PodFailure | undefined>;
  /** The pod runs already, from before this kubelet was started: takes over what it was given then. It cannot be refused. */
  adopt?(pod: Pod): void | Promise<void>;
  /** The pod has ended, or a later handler has refused it: what was set aside is free. An unknown pod is not an error. */
  release?(podUid: string): void | Promise<void>;
}

/** Decides which pods the node takes. */
export interface Admission {
  /** Why the node does not take the pod, or undefined. `others` is read when the pod's turn has come. */
  admit(pod: Pod, others: () => readonly Pod[], admitted: () => void): Promise<PodFailure | undefined>;
  /** Takes over a pod that runs already. */
  adopt(pod: Pod): Promise<void>;
  /** The pod has ended. */
  release(podUid: string): Promise<void>;
}

/** An admission that asks these handlers in their order; the first refusal stands. */
export function createAdmission(handlers: readonly AdmitHandler[]): Admission {
  const turns = new SerialRunner();
  const release = async (podUid: string, some: readonly AdmitHandler[]): Promise<void> => {
    for (const handler of some) await handler.release?.(podUid);
  };
  const ask = async (pod: Pod, others: readonly Pod[]): Promise<PodFailure | undefined> => {
    for (const [index, handler] of handlers.entries()) {
      const failure = await askOne(handler, pod, others);
      if (!failure) continue;
      await release(pod.metadata.uid, handlers.slice(0, index + 1));
      return { ...failure, message: `Pod was rejected: ${failure.message}` };
    }
    return undefined;
  };
  return {
    // One at a time: what one pod is given is taken when the next is asked about.
    admit: (pod, others, admitted) =>
      turns.run('', async () => {
        const failure = await ask(pod, others());
        if (!failure) admitted();
        return failure;
      }),
    adopt: (pod) =>
      turns.run('', async () => {
        for (const handler of handlers) await handler.adopt?.(pod);
      }),
    release: (podUid) => turns.run('', () => release(podUid, handlers)),
  };
}

async function askOne(handler: AdmitHandler, pod: Pod, others: readonly Pod[]): Promise<PodFailure | undefined> {
  try {
    return await handler.admit(pod, others);
  } catch (error) {
    return { reason: 'UnexpectedAdmissionError', message: describeError(error) };
  }
}
