import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { type PortMapping, PortMappingSchema, Protocol } from '../../../api/cri/index.ts';
import { HostPortBook, readHostPorts } from './host-ports.ts';

type Mapping = Partial<Pick<PortMapping, 'protocol' | 'hostPort' | 'containerPort' | 'hostIp'>>;
const mapping = (more: Mapping) =>
  create(PortMappingSchema, { protocol: Protocol.TCP, hostPort: 8080, containerPort: 80, ...more });
const both = ['10.0.0.2', 'fd00::2'];

test('a port leads to the pod in its families, or in the one of its host address', () => {
  const families = (more: Mapping) => readHostPorts([mapping(more)], both).map(({ family }) => family);
  assert.deepEqual(families({}), [4, 6]);
  assert.deepEqual(families({ hostIp: '0.0.0.0' }), [4]);
  assert.deepEqual(families({ hostIp: '::' }), [6]);
  assert.deepEqual(families({ hostIp: '127.0.0.1' }), [4]);
  assert.deepEqual(families({ hostPort: 0 }), [], 'a container port alone asks for nothing');
  assert.equal(readHostPorts([mapping({ hostIp: '0.0.0.0' })], both)[0]!.hostAddress, '');
});

test('what cannot be is refused', () => {
  const refused = (more: Mapping, pattern: RegExp, pod = both) =>
    assert.throws(() => readHostPorts([mapping(more)], pod), pattern);
  refused({ hostIp: '::1' }, /no IPv6 address/, ['10.0.0.2']);
  refused({ hostIp: 'localhost' }, /"localhost" is not an IP address/);
  refused({ hostPort: 70000 }, /host port 70000/);
  refused({ containerPort: 0 }, /container port 0/);
  refused({ protocol: 9 as Protocol }, /protocol 9/);
});

test('a port belongs to one pod per protocol and address', () => {
  const book = new HostPortBook();
  const take = (id: string, ...mappings: Mapping[]) =>
    book.take(id, `default/${id}`, readHostPorts(mappings.map(mapping), ['10.0.0.2']));
  take('a', {});
  assert.throws(
    () => take('b', { hostIp: '127.0.0.1' }),
    /host port 127\.0\.0\.1:8080\/TCP is in use by pod default\/a/,
  );
  take('b', { protocol: Protocol.UDP }, { hostPort: 8081, hostIp: '127.0.0.1' });
  take('c', { hostPort: 8081, hostIp: '127.0.0.2' });
  assert.throws(
    () => take('d', { hostPort: 1 }, { hostPort: 1 }),
    /host port 1\/TCP is asked for twice by pod default\/d/,
  );
  assert.equal(book.list().length, 4);
  book.release('a');
  take('d', {});
});
