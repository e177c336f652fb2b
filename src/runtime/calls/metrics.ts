import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { RuntimeContext } from '../context.ts';
import type { Call } from './call.ts';

/** From 1 ms, where a status is, to 4 minutes, where a slow pull is; seconds. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240];

/** Measures every call from now on. Gives the registry, whose metrics are in the Prometheus format. */
export function createMetrics(context: RuntimeContext): Registry {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  measureCalls(context, registers);
  measureObjects(context, registers);
  const build = new Gauge({
    name: 'deckhand_runtime_build_info',
    help: 'Always 1; the labels tell the versions',
    labelNames: ['version', 'node', 'cgroup'],
    registers,
  });
  build.set({ version: context.settings.version, node: process.version, cgroup: context.cgroups.version }, 1);
  return registry;
}

function measureCalls({ calls, clock }: RuntimeContext, registers: Registry[]): void {
  const callSeconds = new Histogram({
    name: 'deckhand_cri_call_duration_seconds',
    help: 'Time of calls of the CRI, by method',
    labelNames: ['method'],
    buckets,
    registers,
  });
  const stageSeconds = new Histogram({
    name: 'deckhand_cri_stage_duration_seconds',
    help: 'Time of the stages of calls, by method and stage',
    labelNames: ['method', 'stage'],
    buckets,
    registers,
  });
  const failures = new Counter({
    name: 'deckhand_cri_call_failures_total',
    help: 'Calls that failed, by method',
    labelNames: ['method'],
    registers,
  });
  calls.onEnd((call: Call, failed: boolean) => {
    const { method } = call;
    callSeconds.observe({ method }, call.ageMs / 1000);
    if (failed) failures.inc({ method });
    for (const { name, startedAtMs, endedAtMs = clock.now() } of call.stages)
      stageSeconds.observe({ method, stage: name }, (endedAtMs - startedAtMs) / 1000);
  });
  new Gauge({
    name: 'deckhand_cri_calls_in_flight',
    help: 'Calls that have not ended, by method',
    labelNames: ['method'],
    registers,
    collect() {
      this.reset();
      for (const { method } of calls.list()) this.inc({ method });
    },
  });
  new Gauge({
    name: 'deckhand_cri_oldest_call_seconds',
    help: 'Age of the oldest call that has not ended',
    registers,
    collect() {
      this.set(Math.max(0, ...calls.list().map(({ ageMs }) => ageMs)) / 1000);
    },
  });
}

function measureObjects({ store, images, events }: RuntimeContext, registers: Registry[]): void {
  const byState = (name: string, help: string, states: () => string[]): void => {
    new Gauge({
      name,
      help,
      labelNames: ['state'],
      registers,
      collect() {
        this.reset();
        for (const state of states()) this.inc({ state });
      },
    });
  };
  byState('deckhand_sandboxes', 'Sandboxes, by state', () => store.sandboxes.list().map(({ phase }) => phase));
  byState('deckhand_containers', 'Containers, by state', () => store.containers.list().map(({ phase }) => phase.name));
  new Gauge({
    name: 'deckhand_images',
    help: 'Images',
    registers,
    collect() {
      this.set(images.list().length);
    },
  });
  new Gauge({
    name: 'deckhand_event_listeners',
    help: 'Open GetContainerEvents calls',
    registers,
    collect() {
      this.set(events.listeners);
    },
  });
}
