import { type Endpoints, type Pod, resources, type Service } from '../../../api/index.ts';
import { isAlreadyExists } from '../../../client/index.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import { selects, watchServicePods } from '../framework/service-pods.ts';
import { TriggerTimes } from '../framework/trigger-times.ts';
import { planEndpoints } from './plan.ts';

/** Keeps the Endpoints object of every Service with a selector. */
export function startEndpointsController(context: ControllerContext): Controller {
  const services = context.informers.store<Service>(resources.services);
  const pods = context.informers.store<Pod>(resources.pods);
  const endpoints = context.informers.store<Endpoints>(resources.endpoints);
  const times = new TriggerTimes();

  const queue = createControllerQueue(context, {
    name: 'endpoints',
    stores: [services, pods, endpoints],
    handle: async (key) => {
      const service = services.get(key);
      const existing = endpoints.get(key);
      if (!service) {
        times.forget(key);
        if (existing?.metadata.labels?.['endpoints.kubernetes.io/managed-by']) await endpoints.delete(existing);
        return;
      }
      const { selector, type } = service.spec ?? {};
      if (!selector || Object.keys(selector).length === 0 || type === 'ExternalName') return;
      if (service.metadata.deletionTimestamp) return;
      const selected = pods
        .by('namespace', service.metadata.namespace ?? '')
        .filter((pod) => selects(selector, pod.metadata.labels));
      const step = planEndpoints(service, selected, existing, times.observe(key, service, selected));
      if (step.kind === 'update') await endpoints.update(step.endpoints);
      if (step.kind !== 'create') return;
      try {
        await endpoints.create(step.endpoints as never);
      } catch (error) {
        // The cache has not seen it yet: its arrival wakes us again.
        if (!isAlreadyExists(error)) throw error;
      }
    },
  });
  const { unsubscribe } = watchServicePods(services, pods, queue);
  const onEndpoints = endpoints.subscribe((key, now, before) => {
    if (services.get(key)?.spec?.selector && (before || now)) queue.add(key);
  });
  return controllerOfParts([queue], [...unsubscribe, onEndpoints]);
}
