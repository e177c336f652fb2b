import { compareQuantities, parseQuantity } from '../../api/index.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../apiserver/extension-points.ts';
import { podRequests } from '../apiserver/rules/index.ts';
import { isPodResize } from './pod-resize.ts';
import { isPodCreate, refuse } from './refuse.ts';

const rangesOf = (request: AdmissionRequest): any[] =>
  request.registry.list<any>('limitranges', request.namespace).flatMap(({ spec }) => spec?.limits ?? []);

/** Defaults and bounds of what containers, pods and claims of a namespace may ask for. */
export const limitRanger: AdmissionPlugin = {
  name: 'LimitRanger',
  mutate: (request) => {
    if (!isPodCreate(request)) return;
    const { spec } = request.object;
    for (const item of rangesOf(request)) {
      if (item.type !== 'Container') continue;
      for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])])
        applyDefaults(container, item);
    }
  },
  validate: (request) => {
    const resize = isPodResize(request);
    if (!resize && (request.operation !== 'CREATE' || request.subresource !== '')) return;
    const problems = resize || isPodCreate(request) ? podProblems(request) : claimProblems(request);
    if (problems.length > 0) throw refuse(request, problems.length === 1 ? problems[0]! : `[${problems.join(', ')}]`);
  },
};

function applyDefaults(container: any, item: any): void {
  const resources = (container.resources ??= {});
  const given = { ...resources.limits };
  for (const [name, value] of Object.entries({ ...item.max, ...item.default })) {
    if (resources.limits?.[name] !== undefined) continue;
    resources.limits = { ...resources.limits, [name]: value };
  }
  const requests = { ...item.default, ...item.min, ...item.defaultRequest };
  for (const [name, value] of Object.entries(requests)) {
    if (resources.requests?.[name] !== undefined) continue;
    // Somebody who gave a limit and no request asks for as much as the limit.
    resources.requests = { ...resources.requests, [name]: given[name] ?? value };
  }
}

function podProblems(request: AdmissionRequest): string[] {
  const { spec } = request.object;
  const problems: string[] = [];
  for (const item of rangesOf(request)) {
    if (item.type === 'Container') {
      for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) {
        const { requests = {}, limits = {} } = container.resources ?? {};
        problems.push(
          ...compare(
            item,
            'Container',
            (name) => requests[name],
            (name) => limits[name],
          ),
        );
      }
    } else if (item.type === 'Pod') {
      const [requests, limits] = [podRequests(spec), podRequests(spec, 'limits')];
      const show = (sums: Map<string, bigint>) => (name: string) => {
        const value = sums.get(name);
        return value === undefined ? undefined : `${value}n`;
      };
      problems.push(...compare(item, 'Pod', show(requests), show(limits)));
    }
  }
  return problems;
}

function claimProblems(request: AdmissionRequest): string[] {
  if (request.resource.plural !== 'persistentvolumeclaims') return [];
  const requests = request.object.spec?.resources?.requests ?? {};
  return rangesOf(request)
    .filter(({ type }) => type === 'PersistentVolumeClaim')
    .flatMap((item) => [
      ...Object.entries<string>(item.min ?? {})
        .filter(([name, least]) => requests[name] !== undefined && compareQuantities(requests[name], least) < 0)
        .map(
          ([name, least]) =>
            `minimum ${name} usage per PersistentVolumeClaim is ${least}, but request is ${requests[name]}`,
        ),
      ...Object.entries<string>(item.max ?? {})
        .filter(([name, most]) => requests[name] !== undefined && compareQuantities(requests[name], most) > 0)
        .map(
          ([name, most]) =>
            `maximum ${name} usage per PersistentVolumeClaim is ${most}, but request is ${requests[name]}`,
        ),
    ]);
}

type Amount = (name: string) => string | undefined;

function compare(item: any, kind: string, request: Amount, limit: Amount): string[] {
  const problems: string[] = [];
  for (const [name, least] of Object.entries<string>(item.min ?? {})) {
    const asked = request(name);
    if (asked === undefined) problems.push(`minimum ${name} usage per ${kind} is ${least}.  No request is specified`);
    else if (compareQuantities(asked, least) < 0) {
      problems.push(`minimum ${name} usage per ${kind} is ${least}, but request is ${asked}`);
    }
  }
  for (const [name, most] of Object.entries<string>(item.max ?? {})) {
    const allowed = limit(name);
    if (allowed === undefined) problems.push(`maximum ${name} usage per ${kind} is ${most}.  No limit is specified`);
    else if (compareQuantities(allowed, most) > 0) {
      problems.push(`maximum ${name} usage per ${kind} is ${most}, but limit is ${allowed}`);
    }
  }
  for (const [name, ratio] of Object.entries<string>(item.maxLimitRequestRatio ?? {})) {
    const [asked, allowed] = [request(name), limit(name)];
    if (asked === undefined || allowed === undefined) continue;
    const most = parseQuantity(ratio) * parseQuantity(asked);
    if (parseQuantity(allowed) * 1_000_000_000n > most) {
      problems.push(`${name} max limit to request ratio per ${kind} is ${ratio}, but provided ratio is greater`);
    }
  }
  return problems;
}
