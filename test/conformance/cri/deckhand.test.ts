import { test } from 'node:test';
import { CriRegistry } from '../../support/cri-registry.ts';
import { CriRuntime } from '../../support/cri-runtime.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';
import { ourDeviations } from './deviations.ts';
import { reportSuite, suiteCommand } from './report.ts';

test('our runtime', async (t) => {
  await using namespace = await NetworkNamespace.create('suite');
  await using registry = await CriRegistry.start(namespace);
  await using runtime = await CriRuntime.start(namespace, { mirrors: registry.mirrors() });
  const environment = {
    CRI_ENDPOINT: runtime.endpoint,
    CRI_REGISTRY: registry.host,
  };
  await reportSuite(t, [...namespace.enter(), ...suiteCommand, '--json'], environment, ourDeviations);
});
