import { pollUntil } from '../../src/async/index.ts';
import type { Cluster } from './cluster.ts';

/** What a behaviour suite does with its cluster, in few words. */
export class KubeletSuite {
  readonly cluster: Cluster;
  readonly image: string;

  constructor(cluster: Cluster, image: string) {
    this.cluster = cluster;
    this.image = image;
  }

  apply(...objects: object[]): Promise<string> {
    return this.cluster.kubectl(['apply', '-f', '-'], { input: objects.map((one) => JSON.stringify(one)).join('\n') });
  }

  /** A pod of one container that sleeps, with volumes and mounts; `spec` and `container` are laid over. */
  pod(
    name: string,
    parts: { volumes?: object[]; mounts?: object[]; container?: object; spec?: object; metadata?: object },
  ): object {
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, ...parts.metadata },
      spec: {
        terminationGracePeriodSeconds: 1,
        automountServiceAccountToken: false,
        containers: [
          {
            name: 'main',
            image: this.image,
            command: ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait'],
            ...(parts.mounts ? { volumeMounts: parts.mounts } : {}),
            ...parts.container,
          },
        ],
        ...(parts.volumes ? { volumes: parts.volumes } : {}),
        ...parts.spec,
      },
    };
  }

  async ready(...pods: string[]): Promise<void> {
    await this.cluster.kubectl([
      'wait',
      '--for=condition=Ready',
      '--timeout=60s',
      ...pods.map((name) => `pod/${name}`),
    ]);
  }

  /** Runs a shell command in a pod. */
  sh(pod: string, script: string): Promise<string> {
    return this.cluster.kubectl(['exec', pod, '--', 'sh', '-c', script]);
  }

  async remove(...names: string[]): Promise<void> {
    await this.cluster.kubectl(['delete', '--wait', '--timeout=60s', ...names]);
  }

  /** Messages of events about an object, with their reasons: `FailedMount: ...`. */
  async events(name: string): Promise<string[]> {
    const { items } = await this.cluster.get('events', '--field-selector', `involvedObject.name=${name}`);
    return items.map(({ reason, message }: { reason: string; message: string }) => `${reason}: ${message}`);
  }

  async untilEvent(name: string, pattern: RegExp): Promise<string> {
    let seen: string[] = [];
    return pollUntil(
      `event ${pattern} of ${name}`,
      async () => {
        seen = await this.events(name);
        return seen.find((text) => pattern.test(text));
      },
      { timeoutMs: 30_000, intervalMs: 150 },
    ).catch((error: Error) => {
      throw new Error(`${error.message}; seen: ${JSON.stringify(seen)}`);
    });
  }

  until(what: string, probe: () => Promise<boolean>): Promise<boolean> {
    return pollUntil(what, probe, { timeoutMs: 30_000, intervalMs: 150 });
  }
}
