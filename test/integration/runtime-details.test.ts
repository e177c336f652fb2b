import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { ImageService, NamespaceMode, RuntimeService } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { createGrpcClient, type GrpcClient } from '../../src/wire/grpc/index.ts';
import { criImageNames } from '../support/cri-images.ts';
import { CriRegistry } from '../support/cri-registry.ts';
import { CriRuntime } from '../support/cri-runtime.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';

const stack = new AsyncDisposableStack();
let cri: GrpcClient<typeof RuntimeService>;
let images: GrpcClient<typeof ImageService>;
let pods = 0;

before(async () => {
  const namespace = stack.use(await NetworkNamespace.create('details'));
  const registry = stack.use(await CriRegistry.start(namespace));
  const runtime = stack.use(await CriRuntime.start(namespace, { mirrors: registry.mirrors() }));
  const socket = runtime.endpoint.replace('unix://', '');
  cri = createGrpcClient(RuntimeService, socket);
  stack.defer(() => cri.close());
  images = createGrpcClient(ImageService, socket);
  stack.defer(() => images.close());
  await images.pullImage({ image: { image: criImageNames.busybox } });
});

after(() => stack.disposeAsync());

/** Starts a container in a pod whose containers share a PID namespace. */
async function runShared(command: string[], more: object = {}): Promise<string> {
  const name = `pod${++pods}`;
  const namespaceOptions = { pid: NamespaceMode.POD };
  const config = {
    metadata: { name, namespace: 'default', uid: name, attempt: 0 },
    linux: { securityContext: { namespaceOptions } },
  };
  const { podSandboxId } = await cri.runPodSandbox({ config });
  const container = {
    metadata: { name: 'main', attempt: 0 },
    image: { image: criImageNames.busybox },
    command,
    linux: { securityContext: { namespaceOptions } },
    ...more,
  };
  const { containerId } = await cri.createContainer({ podSandboxId, config: container, sandboxConfig: config });
  await cri.startContainer({ containerId });
  return containerId;
}

const output = async (containerId: string, ...cmd: string[]): Promise<string> =>
  Buffer.from((await cri.execSync({ containerId, cmd, timeout: 10n })).stdout)
    .toString()
    .trim();

test('a command that took too long is gone when its caller hears of it', async () => {
  const containerId = await runShared(['sh', '-c', 'top']);
  for (let round = 0; round < 3; round++) {
    await assert.rejects(cri.execSync({ containerId, cmd: ['sleep', '4321'], timeout: 1n }), {
      code: 'DEADLINE_EXCEEDED',
    });
    assert.equal(await output(containerId, 'sh', '-c', 'pgrep sleep || true'), '');
  }
});

test('PID 1 of a shared namespace is called pause, and takes away orphans', async () => {
  const containerId = await runShared(['sleep', '1000']);
  assert.equal(await output(containerId, 'cat', '/proc/1/comm'), 'pause');
  await output(containerId, 'sh', '-c', '(sleep 0.1 & sleep 0.1 & exec true)');
  await pollUntil(
    'the end of the orphans',
    async () => (await output(containerId, 'pgrep', 'sleep')).split('\n').length === 1,
    { timeoutMs: 5_000 },
  );
  assert.ok(!readFileSync(`/proc/self/mountinfo`, 'utf8').includes(`${containerId}/pause`));
});

test('the status tells which image a container and its image volumes have, by digest', async () => {
  const { imageRef: id } = await images.pullImage({ image: { image: criImageNames.httpd } });
  const containerId = await runShared(['sleep', '1000'], {
    image: { image: id, userSpecifiedImage: criImageNames.httpd },
    mounts: [{ containerPath: '/image', readonly: true, image: { image: criImageNames.busybox } }],
  });
  const busybox = (await images.imageStatus({ image: { image: criImageNames.busybox } })).image!;
  const httpd = (await images.imageStatus({ image: { image: criImageNames.httpd } })).image!;
  const { status } = await cri.containerStatus({ containerId });
  assert.equal(status!.mounts[0]!.image!.imageRef, busybox.id);
  assert.deepEqual([status!.imageId, status!.imageRef], [httpd.id, httpd.repoDigests[0]]);
  const [listed] = (await cri.listContainers({ filter: { id: containerId } })).containers;
  assert.deepEqual([listed!.imageId, listed!.imageRef], [httpd.id, httpd.repoDigests[0]]);
});
