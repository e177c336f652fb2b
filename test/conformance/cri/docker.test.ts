import { test } from 'node:test';
import { CriDocker } from '../../support/cri-docker.ts';
import { criRegistries } from '../../support/cri-images.ts';
import { CriRegistry } from '../../support/cri-registry.ts';
import { DockerEngine, dockerMissing } from '../../support/docker-engine.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';
import { dockerDeviations } from './deviations.ts';
import { reportSuite, suiteCommand } from './report.ts';

test('cri-docker over Debian’s Docker Engine', { skip: dockerMissing }, async (t) => {
  await using namespace = await NetworkNamespace.create('docker');
  await using registry = await CriRegistry.start(namespace);
  await using engine = await DockerEngine.start(namespace, {
    proxy: `http://${registry.host}`,
    insecure: [...criRegistries, registry.host],
  });
  await using adapter = await CriDocker.start(namespace, engine);
  const environment = { CRI_ENDPOINT: adapter.endpoint, CRI_REGISTRY: registry.host };
  await reportSuite(t, [...namespace.enter(), ...suiteCommand, '--json'], environment, dockerDeviations);
});
