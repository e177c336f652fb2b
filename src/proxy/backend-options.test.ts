import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendOptions } from './backend-options.ts';
import { defaultSettings } from './configuration.ts';
import { nodePortHosts } from './live/node-port-hosts.ts';
import { unknownNode } from './node-facts.ts';

const node = {
  ...unknownNode,
  addresses: ['10.0.0.5', '10.0.0.6', 'fd00::5'],
  podCidrs: ['10.244.0.0/24', 'fd01::/64'],
};

test('what a backend of a family is told', () => {
  const primary = { ...defaultSettings, nodePortAddresses: ['primary'] };
  const prefixes = (settings: typeof primary, family: 4 | 6, of = node) =>
    backendOptions(settings, of, family).nodePortAddresses;
  assert.deepEqual([prefixes(primary, 4), prefixes(primary, 6)], [['10.0.0.5/32'], ['fd00::5/128']]);
  assert.deepEqual(prefixes({ ...primary, nodeAddress: '10.9.9.9' }, 4), ['10.9.9.9/32'], 'bindAddress goes first');
  assert.deepEqual(prefixes(primary, 4, unknownNode as typeof node), [], 'unknown: all');
  const ranges = { ...defaultSettings, nodePortAddresses: ['10.0.0.0/8', '11.0.0.0/8'] };
  assert.deepEqual([prefixes(ranges, 4), prefixes(ranges, 6)], [['10.0.0.0/8', '11.0.0.0/8'], []]);
  assert.deepEqual(prefixes({ ...defaultSettings, nodePortAddresses: ['10.0.0.0/8', '0.0.0.0/0'] }, 4), []);
  const pods = backendOptions({ ...defaultSettings, detectLocal: { kind: 'node-cidr' } }, node, 6).pods;
  assert.deepEqual(pods, { kind: 'cidr', cidrs: ['fd01::/64'] });
  const cidr = { ...defaultSettings, detectLocal: { kind: 'cidr', cidrs: ['10.0.0.0/8'] } } as const;
  assert.deepEqual(backendOptions(cidr, node, 6).pods, { kind: 'none' });
  assert.deepEqual(backendOptions(cidr, node, 4, ['10.96.0.0/16', 'fd02::/112']).serviceCidrs, ['10.96.0.0/16']);
});

test('servers on node ports listen on the addresses that take them', () => {
  const own = () => ['127.0.0.1', '10.0.0.5', '11.0.0.5', 'fd00::5'];
  const hosts = (nodePortAddresses: string[], family: 4 | 6) =>
    nodePortHosts({ ...defaultSettings, nodePortAddresses }, node, family, own);
  assert.deepEqual([hosts([], 4), hosts([], 6)], [['0.0.0.0'], ['::']]);
  assert.deepEqual(hosts(['10.0.0.0/9'], 4), ['10.0.0.5']);
  assert.deepEqual(hosts(['fd00::/10'], 6), ['fd00::5']);
  assert.deepEqual(hosts(['10.128.0.0/9'], 4), []);
});
