import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type ApiObject, type Pod, resources } from '../../api/index.ts';
import { type Clock, DeadlineError, pollUntil } from '../../async/index.ts';
import { type ApiClient, isNotFound } from '../../client/index.ts';
import { HttpClient } from '../../wire/http/index.ts';
import { instancePaths } from '../instance.ts';
import { daemonSetName, manifestAnnotation, ownLabel, podSelector, renderManifest } from './manifest.ts';

/** Where the proxy is to run, and with what. */
export interface Deployment {
  client: ApiClient;
  clock: Clock;
  nodeName: string;
  server: string;
  /** An image that the node's runtime has or can pull. */
  image: string;
  configuration: Record<string, unknown>;
}

/** How long a pod may take until its proxy has written all Services, milliseconds. */
const startTimeoutMs = 45_000;

/** Applies the DaemonSet and waits until this node's proxy serves. @throws Error saying what its pod lacks */
export async function deployProxy(deployment: Deployment): Promise<void> {
  const { client, image, server, configuration } = deployment;
  for (const { resource, object } of await renderManifest({ server, image, configuration })) {
    if (object.kind === 'DaemonSet' && (await keepDaemonSet(client, object, image))) continue;
    await client.patch(resource, object.metadata.name, object, {
      ...(object.metadata.namespace ? { namespace: object.metadata.namespace } : {}),
      type: 'apply',
      fieldManager: 'deckhand',
      force: true,
    });
  }
  await waitForProxy(deployment);
}

/**
 * Leaves a DaemonSet of the same manifest as its user has made it since (with fewer rights, say), but for the image. One of
 * another manifest goes, and its pods stay until the new one has others.
 */
async function keepDaemonSet(client: ApiClient, wanted: ApiObject, image: string): Promise<boolean> {
  const { namespace, name } = daemonSetName;
  const found = await client.get(resources.daemonsets, name, { namespace }).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
  if (!found) return false;
  const manifest = found.metadata.annotations?.[manifestAnnotation];
  if (manifest !== wanted.metadata.annotations?.[manifestAnnotation]) {
    await client.delete(resources.daemonsets, name, { namespace, propagationPolicy: 'Orphan' });
    return false;
  }
  const pod = found.spec.template.spec!;
  const named = (list: readonly { name: string }[] = []) => list.map((one) => ({ name: one.name, image }));
  const init = pod.initContainers ? { initContainers: named(pod.initContainers) } : {};
  const spec = { template: { spec: { containers: named(pod.containers), ...init } } };
  await client.patch(resources.daemonsets, name, { spec }, { namespace, type: 'strategic', fieldManager: 'deckhand' });
  return true;
}

async function waitForProxy({ client, clock, nodeName, image }: Deployment): Promise<void> {
  let pods: Pod[] = [];
  try {
    await pollUntil(
      'the proxy of the DaemonSet',
      async () => {
        pods = (await proxyPods(client)).filter(({ spec }) => spec.nodeName === nodeName);
        const serving = pods.find(({ spec }) => spec.containers.some((one) => one.image === image));
        return serving !== undefined && isReady(serving) && (await answers());
      },
      { timeoutMs: startTimeoutMs, intervalMs: 20, clock },
    );
  } catch (cause) {
    if (!(cause instanceof DeadlineError)) throw cause;
    throw new Error(`the proxy's DaemonSet does not serve on node ${nodeName}: ${describePods(pods)}`, { cause });
  }
}

async function proxyPods(client: ApiClient): Promise<Pod[]> {
  const { namespace } = daemonSetName;
  return (await client.list(resources.pods, { namespace, labelSelector: podSelector })).items;
}

function isReady({ metadata, status }: Pod): boolean {
  const ready = status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True');
  return ready === true && metadata.deletionTimestamp === undefined;
}

/** Whether a proxy runs here now: what the API server has of the pod may be from before the last end. */
async function answers(): Promise<boolean> {
  const client = new HttpClient({ baseUrl: 'http://127.0.0.1:10256' });
  try {
    const { status } = await client.request({ method: 'GET', path: '/readyz' });
    // Another proxy than ours has no such page.
    return status === 200 || status === 404;
  } catch {
    return false;
  } finally {
    client.close();
  }
}

function describePods(pods: readonly Pod[]): string {
  if (pods.length === 0) return 'there is no pod (has the node a taint, or is kube-system out of quota?)';
  return pods
    .map(({ metadata, status }) => {
      const [state] = (status?.containerStatuses ?? []).map(({ state: now, lastState }) =>
        [now?.terminated, lastState?.terminated, now?.waiting]
          .map((one) => one && [one.reason, one.message?.trim()].filter(Boolean).join(': '))
          .find(Boolean),
      );
      return `pod ${metadata.name} is ${state ?? status?.phase ?? 'not started'} (kubectl -n kube-system logs ${metadata.name})`;
    })
    .join('; ');
}

/**
 * Takes away the DaemonSet of an earlier start, so that one proxy writes rules, not two. Its rules stay for the next one
 * to take over. One that a user has put there is left alone.
 */
export async function retireProxy(dataDirectory: string, client: ApiClient, clock: Clock): Promise<void> {
  if (!existsSync(instancePaths(dataDirectory).proxyImage)) return;
  const { namespace, name } = daemonSetName;
  const found = await client.get(resources.daemonsets, name, { namespace }).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
  const [label, value] = Object.entries(ownLabel)[0]!;
  if (!found || found.metadata.labels?.[label] === value) {
    if (found) await client.delete(resources.daemonsets, name, { namespace, propagationPolicy: 'Background' });
    await removePods(client, clock);
  }
  await rm(instancePaths(dataDirectory).proxyImage, { force: true });
}

/** Does not wait for the garbage collector, which has only just started. */
async function removePods(client: ApiClient, clock: Clock): Promise<void> {
  const { namespace, name } = daemonSetName;
  await pollUntil(
    'the end of the pods of the proxy',
    async () => {
      const pods = (await proxyPods(client)).filter(({ metadata }) =>
        metadata.ownerReferences?.some((owner) => owner.kind === 'DaemonSet' && owner.name === name),
      );
      for (const { metadata } of pods.filter((one) => one.metadata.deletionTimestamp === undefined))
        await client.delete(resources.pods, metadata.name, { namespace }).catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
      return pods.length === 0;
    },
    { timeoutMs: startTimeoutMs, intervalMs: 50, clock },
  );
}
