import type { Container, Pod } from '../../api/index.ts';
import { resizableContainers } from '../resources/pod-resources.ts';
import { containerHash, isSidecar } from './names.ts';
import { restartAllCauses, shouldRestart } from './restart-policy.ts';
import {
  newestContainer,
  type RuntimeContainer,
  type RuntimePod,
  type RuntimeSandbox,
  readySandbox,
} from './runtime-state.ts';
import type { ContainerKind, Plan, Step } from './steps.ts';

/** What planPod knows besides the pod and what the runtime has of it. */
export interface PlanInput {
  pod: Pod;
  runtime: RuntimePod;
  /** The crash back-off of a container that ended: what is left of it and the whole, milliseconds. */
  crashBackoff(container: Container, ended: RuntimeContainer): { remainingMs: number; delayMs: number };
  /** How a container of the name was last known to have ended, or that it was once started: for what the runtime has not any more. */
  known(name: string): { started: boolean; exitCode?: number };
  /** Milliseconds until a start that failed before may be tried again. */
  retryInMs(what: 'sandbox' | string): number;
  /** The verdict of the startup probe; `success` when there is none. */
  startupProbe(container: Container, runtime: RuntimeContainer): 'success' | 'failure' | 'pending';
  /** Whether the liveness probe has failed. */
  livenessFailed(runtime: RuntimeContainer): boolean;
  /** What a running container needs to have the resources that it was granted. Default: nothing. */
  resize?(container: Container, runtime: RuntimeContainer): 'none' | 'update' | 'restart';
  /** Whether the pod as a whole does not have what it was granted. */
  podResize?: boolean;
}

/**
 * Decides what to do next for a pod that is to run. Pure: same input, same plan.
 *
 * Order: sandbox, ephemeral containers, init containers one after another (a sidecar counts as done when it has
 * started), then the app containers. Called again after its steps have been carried out and whenever something changed.
 */
export function planPod(input: PlanInput): Plan {
  const plan = planContainers(input);
  return plan.finished ? plan : planResize(input, plan);
}

/**
 * A resize comes after the end of those containers that it restarts, and before the start of any: they find the pod's
 * cgroup as large as they need it.
 */
function planResize(input: PlanInput, plan: Plan): Plan {
  const { pod, runtime } = input;
  const sandbox = readySandbox(runtime);
  const killed = plan.steps.filter((step) => step.kind === 'kill-container' && step.forResize);
  const update = resizableContainers(pod).some((container) => {
    const last = newestContainer(runtime, container.name);
    return last?.state === 'running' && input.resize?.(container, last) === 'update';
  });
  if (!sandbox || (killed.length === 0 && !update && !input.podResize)) return plan;
  const retryMs = input.retryInMs('resize');
  if (retryMs > 0) return again(plan, retryMs);
  const others = plan.steps.filter((step) => !killed.includes(step));
  return { ...plan, steps: [...killed, { kind: 'resize-pod', sandboxId: sandbox.id }, ...others] };
}

function planContainers(input: PlanInput): Plan {
  const plan: Plan = { steps: [], crashLooping: new Map(), finished: false };
  if (planRestartOfAll(input, plan)) return plan;
  const sandbox = readySandbox(input.runtime);
  if (!sandbox || !sandboxFits(input.pod, sandbox)) return planSandbox(input, plan, sandbox);
  planOldSandboxes(input, plan, sandbox);
  const initialised = planInitContainers(input, plan, sandbox);
  for (const container of input.pod.spec!.ephemeralContainers ?? []) {
    // Never started twice, not even when the runtime has lost the first.
    if (newestContainer(input.runtime, container.name) || input.known(container.name).started) continue;
    const retryMs = input.retryInMs(container.name);
    if (retryMs > 0) again(plan, retryMs);
    else plan.steps.push({ kind: 'start-container', container, as: 'ephemeral', sandbox, restartCount: 0 });
  }
  if (initialised === 'failed') {
    plan.finished = plan.steps.length === 0 && !anythingRunning(input);
    if (!plan.finished) stopSidecars(input, plan);
    return plan;
  }
  if (initialised === 'waiting') return plan;
  let alive = 0;
  for (const container of input.pod.spec!.containers) alive += planContainer(input, plan, sandbox, container, 'app');
  if (alive === 0) {
    // The apps have ended for good: only sidecars keep the pod, and they end with it.
    plan.steps = plan.steps.filter((step) => step.kind !== 'start-container');
    plan.againInMs = undefined;
    plan.finished = true;
  }
  return plan;
}

/** A container has ended in a way that asks for all to be restarted; its own back-off is waited for first. */
function planRestartOfAll(input: PlanInput, plan: Plan): boolean {
  const { pod, runtime } = input;
  const causes = restartAllCauses(pod, runtime);
  if (causes.length === 0) return false;
  const own = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  for (const cause of causes) {
    const { remainingMs, delayMs } = input.crashBackoff(own.find(({ name }) => name === cause.name)!, cause);
    if (remainingMs <= 0) continue;
    plan.crashLooping.set(cause.name, delayMs);
    again(plan, remainingMs);
  }
  if (plan.crashLooping.size > 0) return true;
  const others = runtime.containers.filter((one) => !causes.includes(one) && own.some(({ name }) => name === one.name));
  plan.steps.push({ kind: 'restart-all', others, causes });
  return true;
}

/** A sandbox that lost its address, or is in the wrong network, cannot be kept. */
function sandboxFits(pod: Pod, sandbox: RuntimeSandbox): boolean {
  const hostNetwork = pod.spec!.hostNetwork ?? false;
  return hostNetwork === sandbox.hostNetwork && (hostNetwork || sandbox.ips.length > 0);
}

function planSandbox(input: PlanInput, plan: Plan, unfit: RuntimeSandbox | undefined): Plan {
  const { pod, runtime } = input;
  if (!wantsSandbox(input)) return { ...plan, finished: true };
  for (const sandbox of runtime.sandboxes) {
    const occupied = runtime.containers.some((one) => one.sandboxId === sandbox.id && one.state !== 'exited');
    if (sandbox.ready || occupied) plan.steps.push({ kind: 'stop-sandbox', sandbox, changed: true });
  }
  const retryMs = input.retryInMs('sandbox');
  if (retryMs > 0) return again(plan, retryMs);
  const attempt = runtime.sandboxes.length > 0 ? Math.max(...runtime.sandboxes.map((one) => one.attempt)) + 1 : 0;
  if (!unfit && runtime.sandboxes.length > 0 && plan.steps.length === 0 && runtime.sandboxes[0]) {
    plan.steps.push({ kind: 'stop-sandbox', sandbox: runtime.sandboxes[0], changed: true });
  }
  plan.steps.push({ kind: 'create-sandbox', attempt });
  void pod;
  return plan;
}

/** Whether something is left to run, so that a lost sandbox is worth replacing. */
function wantsSandbox(input: PlanInput): boolean {
  const { pod, runtime } = input;
  const spec = pod.spec!;
  const isOver = (container: Container) => {
    const { exitCode } = input.known(container.name);
    return exitCode !== undefined && !shouldRestart(pod, container, exitCode, false);
  };
  if (runtime.containers.length === 0) return !spec.containers.every(isOver);
  const failedInit = (spec.initContainers ?? []).some((container) => {
    if (isSidecar(container)) return false;
    const last = newestContainer(runtime, container.name);
    return last?.state === 'exited' && last.exitCode !== 0 && !shouldRestart(pod, container, last.exitCode, true);
  });
  if (failedInit) return false;
  return spec.containers.some((container) => {
    const last = newestContainer(runtime, container.name);
    if (!last && isOver(container)) return false;
    if (!last || last.state === 'created')
      return spec.restartPolicy !== 'Never' || runtime.containers.every(isInit(pod));
    // What ran in a sandbox that is gone was ended by it.
    const exitCode = last.state === 'exited' ? last.exitCode : 137;
    return shouldRestart(pod, container, exitCode, false);
  });
}

function isInit(pod: Pod): (container: RuntimeContainer) => boolean {
  const names = new Set((pod.spec!.initContainers ?? []).map(({ name }) => name));
  return ({ name }) => names.has(name);
}

/** Old sandboxes beside the ready one are stopped; their dead containers stay as history. */
function planOldSandboxes({ runtime }: PlanInput, plan: Plan, current: RuntimeSandbox): void {
  for (const sandbox of runtime.sandboxes) {
    if (sandbox.id !== current.id && sandbox.ready) plan.steps.push({ kind: 'stop-sandbox', sandbox, changed: false });
  }
}

/** Init containers in their order. `waiting`: the apps may not start yet. */
function planInitContainers(input: PlanInput, plan: Plan, sandbox: RuntimeSandbox): 'done' | 'waiting' | 'failed' {
  const { pod, runtime } = input;
  const containers = pod.spec!.initContainers ?? [];
  const started = (one: Container) => newestContainer(runtime, one.name, sandbox.id) !== undefined;
  // Whoever comes later in this sandbox proves that those before had ended (their remains may have been removed).
  const appsStarted = pod.spec!.containers.some(started);
  const lastStarted = appsStarted ? containers.length : containers.findLastIndex(started);
  for (const [index, container] of containers.entries()) {
    const last = newestContainer(runtime, container.name, sandbox.id);
    if (isSidecar(container)) {
      planContainer(input, plan, sandbox, container, 'sidecar');
      if (!appsStarted && !(last && sidecarStarted(input, container, last))) return 'waiting';
      continue;
    }
    if (appsStarted || (index < lastStarted && !last)) continue;
    if (last?.state === 'exited' && last.exitCode === 0) continue;
    if (last?.state === 'exited' && !shouldRestart(pod, container, last.exitCode, true)) return 'failed';
    planContainer(input, plan, sandbox, container, 'init');
    return 'waiting';
  }
  return 'done';
}

/** A sidecar lets the next one start once it runs and its startup probe (if any) has passed; a restart later does not count. */
function sidecarStarted(input: PlanInput, container: Container, last: RuntimeContainer): boolean {
  return last.state === 'running' && input.startupProbe(container, last) === 'success';
}

/** Plans one container; gives 1 when it runs or is going to. */
function planContainer(
  input: PlanInput,
  plan: Plan,
  sandbox: RuntimeSandbox,
  container: Container,
  as: ContainerKind,
): 0 | 1 {
  const { pod, runtime } = input;
  const last = newestContainer(runtime, container.name);
  const start = (before?: RuntimeContainer): 1 => {
    const retryMs = input.retryInMs(container.name);
    if (retryMs > 0) again(plan, retryMs);
    else {
      const restartCount = before ? before.restartCount + 1 : 0;
      plan.steps.push({ kind: 'start-container', container, as, sandbox, restartCount, ...(before ? { before } : {}) });
    }
    return 1;
  };
  if (!last) {
    const { exitCode } = input.known(container.name);
    const isOver = as === 'app' && exitCode !== undefined && !shouldRestart(pod, container, exitCode, false);
    return isOver ? 0 : start();
  }
  if (last.state === 'created') {
    // Somebody died between create and start.
    plan.steps.push({ kind: 'remove-container', container: last });
    const previous = runtime.containers.find((one) => one.name === container.name && one.id !== last.id);
    return start(previous);
  }
  if (last.state === 'exited') {
    const anew = last.sandboxId !== sandbox.id && as !== 'app';
    if (!anew && !shouldRestart(pod, container, last.exitCode, as !== 'app')) return 0;
    const { remainingMs, delayMs } = input.crashBackoff(container, last);
    if (remainingMs <= 0) return start(last);
    plan.crashLooping.set(container.name, delayMs);
    again(plan, remainingMs);
    return 1;
  }
  return planRunning(input, plan, container, last, start, as);
}

/** A container that runs (or about which the runtime does not know) is left alone unless there is a reason. */
function planRunning(
  input: PlanInput,
  plan: Plan,
  container: Container,
  last: RuntimeContainer,
  start: (before: RuntimeContainer) => 1,
  as: ContainerKind,
): 0 | 1 {
  const kill = (event: string, graceSeconds?: number): void => {
    plan.steps.push({
      kind: 'kill-container',
      container: last,
      event,
      ...(graceSeconds !== undefined ? { graceSeconds } : {}),
    });
  };
  const title = as === 'app' ? 'Container' : 'Init container';
  if (last.state === 'unknown') {
    kill(`${title} is in "unknown" state, try killing it before restart`);
    return 1;
  }
  const isOwnPolicy = container.restartPolicy ?? input.pod.spec.restartPolicy ?? 'Always';
  const after = as === 'app' && isOwnPolicy !== 'Never' ? ', will be restarted' : '';
  if (last.hash && last.hash !== containerHash(container) && as !== 'init') {
    kill(`${title} ${container.name} definition changed${as === 'app' ? ', will be restarted' : ''}`);
    return start(last);
  }
  if (input.resize?.(container, last) === 'restart') {
    const event = `Container ${container.name} resize requires restart`;
    plan.steps.push({ kind: 'kill-container', container: last, event, forResize: true });
    return start(last);
  }
  // A pod that is being deleted has one grace period for all.
  const grace = (probe: Container['livenessProbe']) =>
    input.pod.metadata.deletionTimestamp === undefined ? probe?.terminationGracePeriodSeconds : undefined;
  if (input.startupProbe(container, last) === 'failure') {
    kill(`${title} ${container.name} failed startup probe${after}`, grace(container.startupProbe));
  } else if (input.livenessFailed(last)) {
    kill(`${title} ${container.name} failed liveness probe${after}`, grace(container.livenessProbe));
  }
  return 1;
}

function anythingRunning({ pod, runtime }: PlanInput): boolean {
  const sidecars = new Set((pod.spec!.initContainers ?? []).filter(isSidecar).map(({ name }) => name));
  return runtime.containers.some((one) => one.state === 'running' && !sidecars.has(one.name));
}

function stopSidecars({ runtime }: PlanInput, plan: Plan): void {
  for (const container of runtime.containers) {
    if (container.state === 'running') {
      plan.steps.push({ kind: 'kill-container', container, event: `Stopping container ${container.name}` });
    }
  }
}

function again(plan: Plan, ms: number): Plan {
  plan.againInMs = Math.min(plan.againInMs ?? Number.POSITIVE_INFINITY, ms);
  return plan;
}

/** The dead containers of a pod that no status needs: of each name the newest dead one is kept. */
export function removableContainers(runtime: RuntimePod): Step[] {
  const kept = new Set<string>();
  const steps: Step[] = [];
  for (const container of runtime.containers) {
    if (container.state !== 'exited') continue;
    if (kept.has(container.name)) steps.push({ kind: 'remove-container', container });
    kept.add(container.name);
  }
  return steps;
}
