import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { Containerd } from '../../support/containerd.ts';
import { criImageNames, criRegistries } from '../../support/cri-images.ts';
import { CriRegistry } from '../../support/cri-registry.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';
import { containerdDeviations } from './deviations.ts';
import { reportSuite, suiteCommand } from './report.ts';

const skip = existsSync('/usr/bin/containerd') ? false : 'containerd is not installed (Debian package containerd)';

test('the control: Debian’s containerd', { skip }, async (t) => {
  await using namespace = await NetworkNamespace.create('control');
  await using registry = await CriRegistry.start(namespace);
  const mirrors = Object.fromEntries(criRegistries.map((name) => [name, `http://${registry.host}`]));
  await using containerd = await Containerd.start(namespace, {
    podCidr: '10.97.0.0/24',
    pauseImage: criImageNames.pause,
    mirrors,
  });
  const environment = { CRI_ENDPOINT: containerd.endpoint, CRI_REGISTRY: registry.host };
  await reportSuite(t, [...namespace.enter(), ...suiteCommand, '--json'], environment, containerdDeviations);
});
