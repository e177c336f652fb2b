import type { Deployment, Draft, Pod, Service } from '../../api/index.ts';

/** The namespace in which the demo lives. */
export const demoNamespace = 'demo';

const labels = { app: 'web' };

/** Three web servers with limits; new versions come without losing a request. */
export function webDeployment(image: string, replicas: number): Draft<Deployment> {
  return {
    metadata: { name: 'web', namespace: demoNamespace, labels },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 2,
          containers: [
            {
              name: 'web',
              image,
              ports: [{ name: 'http', containerPort: 8080 }],
              resources: { requests: { cpu: '10m', memory: '8Mi' }, limits: { cpu: '500m', memory: '32Mi' } },
              readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 1 },
            },
          ],
        },
      },
    },
  };
}

/** The Service in front of them, also on a port of the node. */
export function webService(): Draft<Service> {
  return {
    metadata: { name: 'web', namespace: demoNamespace, labels },
    spec: { type: 'NodePort', selector: labels, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
  };
}

/** A pod that runs one shell command to its end. */
export function commandPod(
  name: string,
  image: string,
  command: string,
  extra: { memory?: string; restartPolicy?: string } = {},
): Draft<Pod> {
  return {
    metadata: { name, namespace: demoNamespace },
    spec: {
      restartPolicy: extra.restartPolicy ?? 'Never',
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image,
          command: ['sh', '-c', command],
          ...(extra.memory ? { resources: { limits: { memory: extra.memory } } } : {}),
        },
      ],
    },
  };
}

/** Asks a URL `count` times and prints how often each answer came. */
export const countAnswers = (url: string, count: number): string =>
  `for i in $(seq ${count}); do wget -q -O - ${url} || echo FAILED; done | sort | uniq -c`;
