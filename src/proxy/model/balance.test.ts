import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Service } from '../../api/index.ts';
import { balanceAnnotation, plainBalance, readBalance } from './balance.ts';

const read = (text?: string) => {
  const problems: string[] = [];
  const annotations: Record<string, string> = text === undefined ? {} : { [balanceAnnotation]: text };
  const service = { metadata: { name: 'a', namespace: 'b', annotations } } as unknown as Service;
  const balance = readBalance(service, ({ field, message }) => problems.push(`${field}: ${message}`));
  return { balance, problems };
};

test('the annotation names a way to balance or a scheduler', () => {
  assert.equal(read().balance, undefined);
  assert.deepEqual(read('round-robin').balance, { kind: 'round-robin' });
  assert.deepEqual(read(' wlc ').balance, { kind: 'scheduler', name: 'wlc' });
});

test('an unknown word is told, and changes nothing', () => {
  for (const word of ['fastest', 'constructor']) {
    const { balance, problems } = read(word);
    assert.equal(balance, undefined);
    assert.match(problems[0] ?? '', /deckhand\.dev\/balance.*is none of random, round-robin/);
  }
});

test('what schedulers are in modes without them', () => {
  assert.equal(plainBalance(undefined), 'random');
  assert.equal(plainBalance({ kind: 'scheduler', name: 'rr' }), 'round-robin');
  assert.equal(plainBalance({ kind: 'scheduler', name: 'mh' }), 'source-hash');
  assert.equal(plainBalance({ kind: 'scheduler', name: 'lc' }), undefined);
});
