import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readBandwidth } from './bandwidth.ts';

const ingress = (text: string) => readBandwidth({ 'kubernetes.io/ingress-bandwidth': text });

test('quantities become bits per second', () => {
  assert.equal(readBandwidth({}), undefined);
  for (const [text, rate] of [
    ['10M', 10e6],
    ['1.5G', 1.5e9],
    ['1Mi', 1_048_576],
    ['64000', 64_000],
    ['1e6', 1e6],
    ['1k', 1000],
  ] as const)
    assert.deepEqual(ingress(text), { ingress: rate }, text);
  assert.deepEqual(readBandwidth({ 'kubernetes.io/egress-bandwidth': '2M', 'kubernetes.io/ingress-bandwidth': '1M' }), {
    ingress: 1e6,
    egress: 2e6,
  });
});

test('what is no quantity, or out of range, is refused by name', () => {
  for (const text of ['', 'fast', '10m', '10Mb', '-5M', '5i', '1ki'])
    assert.throws(() => ingress(text), /annotation kubernetes\.io\/ingress-bandwidth: "/, text);
  for (const text of ['1', '999', '2P', '1e20']) assert.throws(() => ingress(text), /between 1k and 1P/, text);
});
