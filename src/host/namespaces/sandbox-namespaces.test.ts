import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSandboxNamespaces, inNetworkNamespace, isPinned, unpinNamespace } from './sandbox-namespaces.ts';

const skip = process.getuid?.() !== 0 && 'needs root';
const own = () => ['net', 'ipc', 'uts'].map((name) => readlinkSync(`/proc/thread-self/ns/${name}`));
const descriptors = () => readdirSync('/proc/self/fd').length;
const mounts = (directory: string) =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(directory));

test('namespaces are made and kept, and this thread is where it was', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'dh-namespaces-'));
  const [before, open] = [own(), descriptors()];
  try {
    const sysctls = { 'net.ipv4.ip_unprivileged_port_start': '7' };
    const made = createSandboxNamespaces({ directory, network: true, ipc: true, uts: true, hostname: 'pod', sysctls });
    assert.deepEqual(own(), before);
    const port = () => readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8').trim();
    assert.equal(inNetworkNamespace(made.network, port), '7');
    assert.notEqual(inNetworkNamespace(made.network, own)[0], before[0]);
    assert.deepEqual(own(), before);
    for (const path of Object.values(made)) unpinNamespace(path);
    assert.ok(!isPinned(made.network!));
    assert.equal(descriptors(), open);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('whichever step fails, nothing is left and this thread is where it was', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'dh-namespaces-'));
  const [before, open] = [own(), descriptors()];
  try {
    const all = { directory, network: true, ipc: true, uts: true };
    assert.throws(() => createSandboxNamespaces({ ...all, hostname: 'x'.repeat(100) }), /sethostname/);
    assert.throws(
      () => createSandboxNamespaces({ ...all, sysctls: { 'net.no.such': '1' } }),
      /cannot set sysctl net\.no\.such=1/,
    );
    // A directory where the file of the last namespace should be: those before it are kept by then.
    rmSync(join(directory, 'uts'), { force: true });
    mkdirSync(join(directory, 'uts'));
    assert.throws(() => createSandboxNamespaces(all), /mount\(/);
    assert.throws(() => inNetworkNamespace(join(directory, 'missing'), own), /ENOENT/);
    assert.throws(() => inNetworkNamespace(directory, own), /setns.*EINVAL/);
    assert.throws(
      () =>
        inNetworkNamespace('/proc/self/ns/net', () => {
          throw new Error('inside');
        }),
      /inside/,
    );
    assert.deepEqual(own(), before);
    assert.deepEqual(mounts(directory), []);
    assert.equal(descriptors(), open);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
