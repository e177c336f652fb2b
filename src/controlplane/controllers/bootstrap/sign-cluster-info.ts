import { createHmac } from 'node:crypto';
import { type ConfigMap, resources, type Secret } from '../../../api/index.ts';
import { unlessAborted } from '../../../async/index.ts';
import { createInformer, formatKubeconfig, isAlreadyExists } from '../../../client/index.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import { followTokens, readToken } from './tokens.ts';

const namespace = 'kube-public';
const name = 'cluster-info';
const prefix = 'jws-kubeconfig-';
const onlyKey = 'cluster-info';

/** A text signed with a token: a JWS (HS256) without the text itself (RFC 7515, appendix F). */
export function signDetached(text: string, id: string, secret: string): string {
  const encode = (part: string) => Buffer.from(part).toString('base64url');
  const header = encode(JSON.stringify({ alg: 'HS256', kid: id }));
  const signature = createHmac('sha256', `${id}.${secret}`)
    .update(`${header}.${encode(text)}`)
    .digest('base64url');
  return `${header}..${signature}`;
}

/**
 * Publishes where the cluster is and who signs its certificates (`kube-public/cluster-info`, which everybody may read), and
 * signs it with every bootstrap token that is for it: who has a token can tell that it is the right cluster.
 */
export function startBootstrapSigner(context: ControllerContext, rootCa: string | undefined): Controller {
  const { client, log, clock } = context;
  const secrets = followTokens(context, () => queue.add(onlyKey));
  const published = createInformer<ConfigMap>(client, resources.configmaps, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    log,
    clock,
    onChange: () => queue.add(onlyKey),
  });
  const queue = createControllerQueue(context, {
    name: 'bootstrapsigner',
    stores: [],
    concurrency: 1,
    handle: async (_key, signal) => {
      await unlessAborted(Promise.all([published.synced, secrets.synced]), signal);
      const existing = published.get(`${namespace}/${name}`);
      if (!existing) return publish(context, rootCa);
      const data = existing.data ?? {};
      const signed = sign(data, secrets.list(), clock.now());
      if (JSON.stringify(Object.entries(data).sort()) !== JSON.stringify(Object.entries(signed).sort()))
        await client.update(resources.configmaps, { ...existing, data: signed });
    },
  });
  published.start();
  queue.add(onlyKey);
  return controllerOfParts([queue], [() => secrets.stop(), () => published.stop()]);
}

function sign(data: Record<string, string>, secrets: Secret[], now: number): Record<string, string> {
  const kubeconfig = data['kubeconfig'];
  const others = Object.entries(data).filter(([key]) => !key.startsWith(prefix));
  if (kubeconfig === undefined) return Object.fromEntries(others);
  const signatures = secrets.flatMap((secret) => {
    const token = readToken(secret);
    if (!token?.signs || (token.expiration !== undefined && token.expiration <= now)) return [];
    return [[`${prefix}${token.id}`, signDetached(kubeconfig, token.id, token.secret)] as const];
  });
  return Object.fromEntries([...others, ...signatures]);
}

/** The first information: the address that the controllers use themselves. */
async function publish({ client }: ControllerContext, rootCa: string | undefined): Promise<void> {
  const ca = rootCa ?? client.config.ca;
  if (!ca) return;
  const kubeconfig = formatKubeconfig(
    { server: client.config.server, ca },
    { cluster: '', user: '' },
    { anonymous: true },
  );
  try {
    await client.create(resources.configmaps, { metadata: { name, namespace }, data: { kubeconfig } });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}
