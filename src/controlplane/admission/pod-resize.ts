import { compareQuantities, quantityMilli, quantityValue } from '../../api/index.ts';
import { deepEqual } from '../../api/patch/index.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../apiserver/extension-points.ts';
import { podRequests } from '../apiserver/rules/index.ts';
import { refuse } from './refuse.ts';

/** Refuses to let a pod grow beyond what its whole node could give. */
export const podResize: AdmissionPlugin = {
  name: 'PodResizeValidator',
  validate: (request) => {
    const { object, oldObject } = request;
    if (!isPodResize(request)) return;
    const nodeName = object.spec?.nodeName;
    if (!nodeName || deepEqual(object.spec, oldObject?.spec)) return;
    const node: any = request.registry.get('nodes', '', nodeName);
    if (!node) throw refuse(request, `node "${nodeName}" not found`);
    const system = node.metadata.labels?.['kubernetes.io/os'];
    if (system !== undefined && system !== 'linux') {
      const text = `pod resize is only supported on linux nodes, node "${nodeName}" is "${system}"`;
      throw refuse(request, text, { causes: [{ reason: 'UnsupportedPlatform', message: '' }] });
    }
    const over = tooMuch(object.spec, node.status?.allocatable ?? {});
    if (over.length === 0) return;
    const text = `node didn't have enough allocatable resources: ${over.join('; ')}`;
    throw refuse(request, text, { causes: [{ reason: 'NodeCapacity', message: '' }] });
  },
};

/** Whether the request changes the resources of a pod. */
export function isPodResize({ operation, resource, subresource }: AdmissionRequest): boolean {
  return operation === 'UPDATE' && resource.group === '' && resource.plural === 'pods' && subresource === 'resize';
}

function tooMuch(spec: any, allocatable: Record<string, string>): string[] {
  const requests = podRequests(spec);
  return (['cpu', 'memory'] as const).flatMap((name) => {
    const asked = `${requests.get(name) ?? 0n}n`;
    const most = allocatable[name] ?? '0';
    if (compareQuantities(asked, most) <= 0) return [];
    const amount = name === 'cpu' ? quantityMilli : quantityValue;
    return [`${name}, requested: ${amount(asked)}, allocatable: ${amount(most)}`];
  });
}
