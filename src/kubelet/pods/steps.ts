import type { Container, EphemeralContainer } from '../../api/index.ts';
import type { RuntimeContainer, RuntimeSandbox } from './runtime-state.ts';

/** How a container belongs to its pod. */
export type ContainerKind = 'init' | 'sidecar' | 'app' | 'ephemeral';

/** One thing to do to bring a pod nearer to its spec. Executors are in act.ts. */
export type Step =
  /** Stops a sandbox that is of no use any more, and what runs in it. */
  | { kind: 'stop-sandbox'; sandbox: RuntimeSandbox; changed: boolean }
  | { kind: 'create-sandbox'; attempt: number }
  /** Stops one container; `event` is the text that says why. */
  | { kind: 'kill-container'; container: RuntimeContainer; event: string; graceSeconds?: number; forResize?: true }
  /** Gives the pod and its running containers the resources that they were granted. */
  | { kind: 'resize-pod'; sandboxId: string }
  /** Ends and removes every container, to start them all anew; those that asked for it go last: until then they still ask. */
  | { kind: 'restart-all'; others: RuntimeContainer[]; causes: RuntimeContainer[] }
  /** Takes a dead (or never started) container out of the runtime. */
  | { kind: 'remove-container'; container: RuntimeContainer }
  | {
      kind: 'start-container';
      container: Container | EphemeralContainer;
      as: ContainerKind;
      sandbox: RuntimeSandbox;
      restartCount: number;
      /** The one that ran before, if it is to be restarted. */
      before?: RuntimeContainer;
    };

/** What is to be done for a pod now. */
export interface Plan {
  steps: Step[];
  /** Milliseconds after which to plan again though nothing happens; undefined: only when something happens. */
  againInMs?: number;
  /** Containers that wait for their back-off: name → the whole delay, milliseconds. */
  crashLooping: Map<string, number>;
  /** Nothing runs and nothing will: the pod has reached its end. */
  finished: boolean;
}
