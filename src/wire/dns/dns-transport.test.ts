import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askDns, DnsTransportError } from './dns-transport.ts';

test('a server that cannot be reached fails the question and nothing else', async () => {
  // The kernel refuses the address at once, as it does where there is no route.
  const question = askDns({ host: '255.255.255.255', port: 53 }, Buffer.alloc(12), {
    transport: 'udp',
    timeoutMs: 1_000,
  });
  await assert.rejects(question, (error) => error instanceof DnsTransportError && error.code === 'EACCES');
});
