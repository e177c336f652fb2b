/** Sets of the kernel over netlink, beside what the program ipset says of them. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { IpsetSocket, memberText, type SetDefinition, type SetMember } from '../../src/host/ipset/index.ts';
import { NetworkNamespace } from '../support/network-namespace.ts';

const skip = existsSync('/usr/sbin/ipset') ? false : 'ipset is not installed (Debian package ipset)';

const cases: { set: SetDefinition; members: SetMember[] }[] = [
  {
    set: { name: 'T-IP', type: 'hash:ip', family: 4 },
    members: [{ address: '10.0.0.1' }, { address: '10.0.0.2' }],
  },
  {
    set: { name: 'T-IP-PORT', type: 'hash:ip,port', family: 4, maximum: 1_000_000 },
    members: [
      { address: '10.0.0.1', protocol: 'TCP', port: 80 },
      { address: '10.0.0.1', protocol: 'SCTP', port: 81 },
    ],
  },
  {
    set: { name: 'T-LOOP', type: 'hash:ip,port,ip', family: 6 },
    members: [{ address: 'fd00::1', protocol: 'UDP', port: 53, second: 'fd00::1' }],
  },
  {
    set: { name: 'T-NET', type: 'hash:ip,port,net', family: 4 },
    members: [
      { address: '10.0.0.1', protocol: 'TCP', port: 80, second: '192.168.0.0/16' },
      { address: '10.0.0.1', protocol: 'TCP', port: 80, second: '1.2.3.4/32' },
    ],
  },
  { set: { name: 'T-PORTS', type: 'bitmap:port', family: 4 }, members: [{ port: 30_000 }, { port: 30_001 }] },
];

test('sets of every kind are made, filled, listed, emptied and removed', { skip }, async () => {
  await using namespace = await NetworkNamespace.create('ipset');
  using sets = new IpsetSocket({ namespace: `/run/netns/${namespace.name}` });
  for (const { set, members } of cases) {
    sets.create(set);
    sets.create(set);
    sets.add(set.name, set.type, members);
    sets.add(set.name, set.type, members);
    const [found] = sets.list(set.name);
    const texts = (list: readonly SetMember[]) => list.map(memberText).sort();
    assert.deepEqual(texts(found!.members), texts(members), set.name);
    assert.deepEqual([found!.type, found!.references], [set.type, 0]);
    const { stdout } = await namespace.run(['ipset', 'list', set.name]);
    const shown = stdout.split('Members:\n')[1]!.trim().split('\n').sort();
    // The program leaves out what is a whole address.
    assert.deepEqual(
      shown,
      texts(members).map((one) => one.replace(/\/32$/, '')),
      stdout,
    );
    sets.delete(set.name, set.type, members.slice(0, 1));
    sets.delete(set.name, set.type, members.slice(0, 1));
    assert.deepEqual(texts(sets.list(set.name)[0]!.members), texts(members.slice(1)));
  }
  assert.equal(sets.list().length, cases.length);
  for (const { set } of cases) assert.equal(sets.destroy(set.name), true);
  assert.equal(sets.destroy('T-IP'), false);
  assert.deepEqual(sets.list(), []);
});

test('many members, and errors that say what is wrong', { skip }, async () => {
  await using namespace = await NetworkNamespace.create('ipset2');
  using sets = new IpsetSocket({ namespace: `/run/netns/${namespace.name}` });
  const set = { name: 'T-MANY', type: 'hash:ip', family: 4, maximum: 80_000 } as const;
  const members = Array.from({ length: 20_000 }, (_, at) => ({
    address: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`,
  }));
  sets.create(set);
  sets.add(set.name, set.type, members);
  assert.equal(sets.list(set.name)[0]!.members.length, members.length);
  // A small one: of large sets the kernel counts the parts of the table, and a part may have room.
  sets.create({ ...set, name: 'T-FEW', maximum: 100 });
  sets.add('T-FEW', set.type, members.slice(0, 100));
  assert.throws(() => sets.add('T-FEW', set.type, [{ address: '11.0.0.1' }]), /add to the set T-FEW: the set is full/);
  assert.throws(() => sets.add('T-NONE', set.type, members.slice(0, 1)), /T-NONE: ENOENT/);
  await namespace.output(['iptables', '-A', 'INPUT', '-m', 'set', '--match-set', 'T-MANY', 'src', '-j', 'ACCEPT']);
  assert.throws(() => sets.destroy(set.name), /remove the set T-MANY: (it is in use|a rule)/);
});
