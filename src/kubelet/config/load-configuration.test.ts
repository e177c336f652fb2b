import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createLogger } from '../../log/index.ts';
import { configurationFields } from './configuration-fields.ts';
import { completeConfiguration } from './kubelet-configuration.ts';
import { loadConfiguration } from './load-configuration.ts';

const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const log = createLogger('test', () => {});

describe('the configuration from files and flags', () => {
  let directory: string;
  const file = async (name: string, text: string): Promise<string> => {
    const path = join(directory, name);
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, text.startsWith('!') ? text.slice(1) : head + text);
    return path;
  };
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dh-kconfig-'));
  });
  after(() => rm(directory, { recursive: true }));

  it('drop-ins are laid over the file in the order of their names, directories within; lists are replaced, objects merged', async () => {
    const config = await file(
      'a/kubelet.yaml',
      'maxPods: 1\nclusterDNS: [10.0.0.1]\nkubeReserved: {cpu: 1, memory: 1Gi}\n',
    );
    await file('a/d/20-last.conf', 'maxPods: 3\nkubeReserved: {cpu: 2}\n');
    await file('a/d/10-first.conf', 'maxPods: 2\nclusterDNS: [10.0.0.2]\n');
    await file('a/d/15-more/one.conf', 'podsPerCore: 4\n');
    await file('a/d/30-not.yaml', 'maxPods: 9\n');
    const made = await loadConfiguration({ config, 'config-dir': join(directory, 'a/d') }, log);
    assert.equal(made.maxPods, 3);
    assert.equal(made.podsPerCore, 4);
    assert.deepEqual(made.clusterDNS, ['10.0.0.2']);
    assert.deepEqual(made.kubeReserved, { cpu: 2, memory: '1Gi' });
  });

  it('flags win over files; gates are merged; a value that is null falls back to the default', async () => {
    const config = await file(
      'b.yaml',
      'maxPods: 1\nport: null\nfeatureGates: {NodeDeclaredFeatures: false}\nkubeReserved: {cpu: 1}\n',
    );
    const flags = { 'max-pods': '7', 'feature-gates': ['GracefulNodeShutdown=false'], 'kube-reserved': ['memory=1Gi'] };
    const made = await loadConfiguration({ config, ...flags }, log);
    assert.equal(made.maxPods, 7);
    assert.equal(made.port, 10250);
    assert.deepEqual(made.featureGates, { NodeDeclaredFeatures: false, GracefulNodeShutdown: false });
    assert.deepEqual(made.kubeReserved, { memory: '1Gi' });
  });

  it('paths in a file belong to its directory', async () => {
    const config = await file(
      'c/kubelet.yaml',
      'staticPodPath: manifests\nauthentication: {x509: {clientCAFile: ../ca.crt}}\n',
    );
    const made = await loadConfiguration({ config }, log);
    assert.equal(made.staticPodPath, join(directory, 'c/manifests'));
    assert.equal(made.authentication.x509.clientCAFile, join(directory, 'ca.crt'));
  });

  it('what is wrong is told with the file or flag and the field', async () => {
    const cases: [string, Record<string, string>, RegExp][] = [
      ['maxPodz: 1\n', {}, /e0\.yaml: maxPodz: unknown field/],
      ['maxPods: 1\nmaxPods: 2\n', {}, /e1\.yaml: maxPods: is there twice/],
      ['maxPods: -1\n', {}, /e2\.yaml: maxPods: -1 must be 0 or greater/],
      ['', { 'max-pods': '-2' }, /^--max-pods: -2 must be 0 or greater/],
      ['', { 'config-dir': '/nowhere' }, /^cannot read --config-dir \/nowhere/],
      ['!kind: Pod\n', {}, /e5\.yaml: kind: must be KubeletConfiguration/],
      ['!', {}, /e6\.yaml: kind: must be/],
      ['hairpinMode: never\n', {}, /hairpinMode: "never" is none of/],
      ['shutdownGracePeriod: 1s\nshutdownGracePeriodCriticalPods: 2s\n', {}, /shutdownGracePeriod(CriticalPods)?: /],
      ['registerWithTaints: [{key: a, effect: Never}]\n', {}, /registerWithTaints\[0\]\.effect: "Never"/],
      ['tlsCertFile: a\n', {}, /tlsCertFile: must be given together/],
      ['logging: {vmodule: [{filePattern: a, verbosity: 4}]}\n', {}, /logging\.vmodule: /],
      ['logging: {format: xml}\n', {}, /logging\.format: "xml" is none of text, json/],
      ['tracing: {endpoint: "a:1"}\n', {}, /tracing: .*spans are not exported/],
      [
        'serverTLSBootstrap: true\nfeatureGates: {RotateKubeletServerCertificate: false}\n',
        {},
        /serverTLSBootstrap: needs/,
      ],
      ['showHiddenMetricsForVersion: "1.20"\n', {}, /showHiddenMetricsForVersion: "1\.20" is none of 1\.35/],
      ['address: here\n', {}, /address: "here" is no IP address/],
    ];
    for (const [index, [text, flags, message]] of cases.entries()) {
      const config = await file(`e${index}.yaml`, text);
      await assert.rejects(loadConfiguration({ config, ...flags }, log), { message }, text);
    }
  });

  it('all 125 fields are known, and a configuration with every default is accepted', () => {
    const fields = Object.keys(configurationFields).filter((name) => !name.includes('.'));
    assert.equal(fields.length, 125);
    assert.doesNotThrow(() => completeConfiguration(completeConfiguration({}) as Record<string, unknown>));
  });
});
