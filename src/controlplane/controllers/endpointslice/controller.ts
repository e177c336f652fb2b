import { type EndpointSlice, type Node, type Pod, resources, type Service } from '../../../api/index.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import { serviceKeyOfSlice } from '../framework/informers.ts';
import { selects, watchServicePods } from '../framework/service-pods.ts';
import { TriggerTimes } from '../framework/trigger-times.ts';
import { managedByLabel, planSlices, type SliceStep, sliceManager } from './plan.ts';

/** Keeps the EndpointSlices of every Service with a selector. */
export function startEndpointSliceController(context: ControllerContext): Controller {
  const services = context.informers.store<Service>(resources.services);
  const pods = context.informers.store<Pod>(resources.pods);
  const slices = context.informers.store<EndpointSlice>(resources.endpointslices);
  const nodes = context.informers.store<Node>(resources.nodes);
  const times = new TriggerTimes();

  const act = async (step: SliceStep): Promise<unknown> => {
    switch (step.kind) {
      case 'create':
        return slices.create(step.slice as never);
      case 'update':
        return slices.update(step.slice);
      case 'delete':
        return slices.delete(step.slice);
    }
  };
  const queue = createControllerQueue(context, {
    name: 'endpointslice',
    stores: [services, pods, slices, nodes],
    concurrency: 8,
    handle: async (key) => {
      const service = services.get(key);
      const mine = slices
        .by('service', key)
        .filter((slice) => slice.metadata.labels?.[managedByLabel] === sliceManager);
      const alive = mine.filter((slice) => !slice.metadata.deletionTimestamp);
      const selector = service?.spec?.selector;
      if (!service || service.metadata.deletionTimestamp) {
        times.forget(key);
        // The garbage collector would too; a Service that is gone should not leave addresses behind for long.
        if (!service) await Promise.all(alive.map((slice) => slices.delete(slice)));
        return;
      }
      if (!selector || Object.keys(selector).length === 0 || service.spec?.type === 'ExternalName') return;
      const selected = pods
        .by('namespace', service.metadata.namespace ?? '')
        .filter((pod) => selects(selector, pod.metadata.labels));
      const triggerTime = times.observe(key, service, selected);
      const zoneOf = (node: string) => nodes.get(node)?.metadata.labels?.['topology.kubernetes.io/zone'];
      const steps = planSlices({
        service,
        pods: selected,
        slices: alive,
        zoneOf,
        ...(triggerTime ? { triggerTime } : {}),
      });
      await Promise.all(steps.map(act));
    },
  });
  const { unsubscribe } = watchServicePods(services, pods, queue);
  const onSlice = slices.subscribe((_key, now, before) => {
    // Someone changed or removed what is ours: put it right.
    const slice = now ?? before!;
    if (slice.metadata.labels?.[managedByLabel] !== sliceManager) return;
    const key = serviceKeyOfSlice(slice);
    if (key && before) queue.add(key);
  });
  return controllerOfParts([queue], [...unsubscribe, onSlice]);
}
