import { join } from 'node:path';
import { Backoff } from '../async/index.ts';
import { createEventRecorder, type EventRecorder } from '../client/index.ts';
import { makeAllocation } from './assemble-allocation.ts';
import { makeResources } from './assemble-resources.ts';
import { durationMs } from './config/duration.ts';
import type { Companion, Ground } from './ground.ts';
import { Housekeeping } from './housekeeping.ts';
import { makeImages } from './images/make-images.ts';
import { countCsiCalls } from './metrics/count-csi-calls.ts';
import { PodMeasures } from './metrics/pod-measures.ts';
import { podRange, startNodeReporter } from './node/index.ts';
import { type PluginHandler, PluginWatcher } from './plugins/index.ts';
import { KubeletPodDirectory } from './pods/pod-directory.ts';
import { PodEvents } from './pods/pod-events.ts';
import { PodManager, type PodManagerOptions } from './pods/pod-manager.ts';
import type { NodeInputs, NodeReporter } from './pods/ports.ts';
import { RuntimeCache } from './pods/runtime-cache.ts';
import { RuntimeWatch } from './pods/runtime-watch.ts';
import { ProbeManager } from './probes/probe-manager.ts';
import { type MachineCapacity, readMachineCapacity } from './resources/index.ts';
import { makeUsers } from './security/make-users.ts';
import { makeShutdown } from './shutdown/make-shutdown.ts';
import { createObjectReader } from './sources/object-reader.ts';
import { PodSources } from './sources/pod-sources.ts';
import { Statistics } from './statistics/index.ts';
import { StatusWriter } from './status/status-writer.ts';
import { type CsiOptions, createCsi } from './volumes/csi/create-csi.ts';
import { type ChangeDetection, createPodVolumes } from './volumes/index.ts';

export type { Companion, Ground } from './ground.ts';

/** The version of Kubernetes whose behaviour this kubelet has. */
export const kubeletVersion = 'v1.36.2';

/** The parts of a kubelet that startKubelet starts and stops. */
export type Parts = ReturnType<typeof assemble>;

/** A view of the runtime that has not been renewed for this long makes the node NotReady, milliseconds. */
const staleViewMs = 180_000;

/** Puts the parts together; none has begun to work but the node reporter. */
export function assemble(ground: Ground) {
  const { settings, api, client, metrics, runtime, signal, log, clock } = ground;
  const recorder = makeRecorder(ground);
  const events = new PodEvents(recorder, log);
  const capacity = readMachineCapacity(settings.rootDirectory);
  const cache: RuntimeCache = new RuntimeCache(client, clock, (uid, one) => manager.runtimeChanged(uid, one));
  const inputs = {
    ...{ volumesInUse: () => volumes.inUse(), devices: () => devices.counts() },
    ...{ problem: () => system.shutdown.problem, pressures: () => resources.eviction.pressures },
  };
  const node: NodeReporter = makeNode(ground, capacity, cache, recorder, inputs);
  const { volumes, csi } = makeVolumes(ground, node, events);
  const objects = createObjectReader(api, { clock, log, signal });
  const probes: ProbeManager = new ProbeManager({
    ...{ client, cache, events, metrics, clock, hostIps: () => node.hostIps() },
    onChange: (uid) => manager.runtimeChanged(uid),
  });
  const measures: PodMeasures = new PodMeasures({ metrics, clock, records: () => manager.records() });
  const { timelines } = measures;
  const status = new StatusWriter({ client: api, clock, log, onWritten: (...told) => measures.written(...told) });
  const later = { manager: () => manager, sources: () => sources };
  const statistics = new Statistics({ settings, client, cache, volumes, clock, log });
  const allocation = makeAllocation(ground, { cache, node, ...later });
  const { grants, devices } = allocation;
  const system: ReturnType<typeof makeShutdown> = makeShutdown(ground, { recorder, node, ...later });
  const handlers = { allocation: [allocation.admission], last: system.last, garbage: () => imageParts, statistics };
  const resources = makeResources(ground, { capacity, recorder, node, events, grants, ...handlers, ...later });
  const { cgroups, admission, memory, resizes } = resources;
  const imageParts = makeImages(ground, { events, recorder, cache, objects, node, ...later });
  const images = imageParts.puller;
  const options: PodManagerOptions = {
    kit: {
      ...{ settings, client, cache, volumes, cgroups, node, images, objects, probes, events, timelines, metrics },
      ...{ memory, grants, resizes, users: makeUsers(ground, node), log, clock },
      containerStarted: (id, sandboxId) => watch.started(id, sandboxId),
      retryBackoff: new Backoff({ initialMs: 500, maximumMs: 15_000 }, clock),
    },
    client: api,
    status,
    admission,
    withHealth: allocation.withHealth,
    runtimeName: () => runtime.name,
    onContainer: (uid, one) => [directory.changed(uid), measures.container(uid, one)],
    onUnknown: () => leftovers.soon(),
    onForgotten: (name) => sources.podForgotten(name),
  };
  const manager: PodManager = new PodManager(options);
  const directory: KubeletPodDirectory = new KubeletPodDirectory({
    ...{ settings, cache, records: () => manager.records(), timelines: () => timelines.list() },
  });
  const nodeUid = () => node.node()?.metadata.uid;
  const sources: PodSources = new PodSources({ settings, client: api, manager, status, cache, nodeUid, clock, log });
  const leftovers = new Housekeeping({ settings, ...later, cache, volumes, cgroups, resizes, signal, clock, log });
  const housekeeping = () => leftovers.run();
  const watch: RuntimeWatch = new RuntimeWatch({ client, cache, clock, log, metrics, onRelist: housekeeping });
  const plugins = makePlugins(ground, { CSIPlugin: csi.registration, DevicePlugin: devices.plugins });
  const companions = [allocation, resources, system].flatMap((one): Companion[] => one.companions);
  const parts = { plugins, watch, sources, node, manager, probes, status, volumes, directory, cache, housekeeping };
  return { ...parts, statistics, companions: [...companions, imageParts, podRange(ground, node)] };
}

/** Writes events, as many as the configuration allows. */
function makeRecorder({ settings, heartbeat, log, clock }: Ground): EventRecorder | undefined {
  const { eventRecordQPS, eventBurst } = settings.configuration;
  const rate = { perSecond: eventRecordQPS || 5, burst: eventBurst || 10 };
  return (
    heartbeat && createEventRecorder(heartbeat, { component: 'kubelet', host: settings.nodeName, rate, log, clock })
  );
}

function makeNode(
  { settings, heartbeat, client, log, clock }: Ground,
  capacity: MachineCapacity,
  cache: RuntimeCache,
  events: EventRecorder | undefined,
  inputs: Omit<NodeInputs, 'podLifecycleProblem'> & { problem(): string | undefined },
): NodeReporter {
  const podLifecycleProblem = (): string | undefined => {
    if (cache.ageMs <= staleViewMs) return inputs.problem();
    const seconds = Math.round(cache.ageMs / 1000);
    return `PLEG is not healthy: pleg was last seen active ${seconds}s ago; threshold is 3m0s`;
  };
  return startNodeReporter({
    settings,
    client: heartbeat,
    runtime: client,
    capacity,
    inputs: { podLifecycleProblem, ...inputs },
    events,
    kubeletVersion,
    log,
    clock,
  });
}

function makeVolumes({ settings, api, metrics, log, clock }: Ground, node: NodeReporter, events: PodEvents) {
  const { rootDirectory: root, nodeName } = settings;
  const base = { root, client: api, node: () => node.node(), log, clock };
  const onNews: CsiOptions['onNews'] = (podUids) => volumes.changed(podUids);
  const csi = createCsi({ ...base, nodeName, onNews, onCall: countCsiCalls(metrics) });
  const volumes: ReturnType<typeof createPodVolumes> = createPodVolumes({
    ...base,
    ...{ metrics, resyncMs: settings.syncFrequencyMs },
    changeDetection: settings.configuration.configMapAndSecretChangeDetectionStrategy as ChangeDetection,
    statisticsPeriodMs: durationMs(settings.configuration.volumeStatsAggPeriod),
    plugins: [csi.volumes],
    onInUse: () => node.changed(),
    warn: (pod, reason, message) => events.warning(pod, reason, message),
    note: (pod, reason, message) => events.normal(pod, reason, message),
  });
  return { volumes, csi };
}

/** Plugins register below the kubelet's directory; who takes them stands by type in `handlers`. */
function makePlugins({ settings, metrics, log, clock }: Ground, handlers: Readonly<Record<string, PluginHandler>>) {
  const directory = join(settings.rootDirectory, 'plugins_registry');
  const plugins = new PluginWatcher({ directory, handlers, log, clock });
  metrics.onCollect(() => {
    metrics.clear('plugin_manager_total_plugins');
    for (const { socket } of plugins.registered())
      metrics.set('plugin_manager_total_plugins', 1, { socket_path: socket, state: 'actual_state_of_world' });
  });
  return plugins;
}
