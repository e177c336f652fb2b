import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiClient } from '../../client/index.ts';
import { ApiError } from '../../client/index.ts';
import { readTrustBundle } from './trust-bundle.ts';

const certificate = (name: string): string => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`;
const bundle = (name: string, signerName: string | undefined, labels: Record<string, string>, text: string) => ({
  metadata: { name, labels },
  spec: { ...(signerName ? { signerName } : {}), trustBundle: text },
});

/** An API server that has these bundles. */
function serverOf(...bundles: ReturnType<typeof bundle>[]): Pick<ApiClient, 'request'> {
  return {
    request: async (_method, path) => {
      const { pathname, searchParams } = new URL(path, 'http://x');
      const name = pathname.split('/')[5];
      const signer = searchParams.get('fieldSelector')?.split('=')[1];
      const found = bundles.find(({ metadata }) => metadata.name === name);
      if (name && !found)
        throw new ApiError({ metadata: {}, code: 404, reason: 'NotFound', message: `${name} not found` });
      const items = bundles.filter(({ spec }) => spec.signerName === signer);
      return { status: 200, headers: {}, body: Buffer.from(JSON.stringify(name ? found : { items })) };
    },
  };
}

test('a bundle by name: its certificates alone, each once', async () => {
  const text = `# roots\n${certificate('b')}garbage\n${certificate('a')}${certificate('b')}`;
  const server = serverOf(bundle('roots', undefined, {}, text));
  assert.equal(await readTrustBundle(server, { name: 'roots', path: 'x' }), certificate('a') + certificate('b'));
  await assert.rejects(readTrustBundle(server, { name: 'none', path: 'x' }), /clustertrustbundle "none" not found/);
  assert.equal(await readTrustBundle(server, { name: 'none', path: 'x', optional: true }), '');
});

test('bundles of a signer by labels: an empty selector takes all, none takes nothing', async () => {
  const server = serverOf(
    bundle('one', 'example.com/a', { live: 'yes' }, certificate('one')),
    bundle('two', 'example.com/a', { live: 'no' }, certificate('two')),
    bundle('three', 'example.com/b', { live: 'yes' }, certificate('three')),
  );
  const read = (labelSelector?: object) =>
    readTrustBundle(server, { signerName: 'example.com/a', ...(labelSelector ? { labelSelector } : {}), path: 'x' });
  assert.equal(await read({}), certificate('one') + certificate('two'));
  assert.equal(await read({ matchLabels: { live: 'yes' } }), certificate('one'));
  await assert.rejects(read(), /matched zero ClusterTrustBundles/);
});
