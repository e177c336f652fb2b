import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podCidrs } from '../../src/proxy/testing/packet-network.ts';
import {
  everyProtocol,
  type ServiceCase,
  serviceAddresses,
  serviceObject,
  sliceObjects,
} from '../../src/proxy/testing/service-cases.ts';
import { createPacketNetwork, type PacketNetwork } from '../support/packet-network.ts';
import { ProxyDriver } from '../support/proxy-network.ts';

const affine: ServiceCase = {
  name: 'affinity',
  number: 1,
  endpoints: [
    { at: 'p1', state: 'ready' },
    { at: 'p2', state: 'ready' },
    { at: 'r1', state: 'ready' },
  ],
  ports: everyProtocol,
  spec: { sessionAffinity: 'ClientIP' },
};

/** Connects from a pod to the cluster IP, one after the other the first time; gives who answered. */
async function call(network: PacketNetwork, times: number, patienceMs = 8_000): Promise<string[]> {
  const { clusterIp: address } = serviceAddresses(affine.number, 4);
  const one = { namespace: network.place('client'), protocol: 'TCP', address, port: 80, patienceMs } as const;
  const replies = await network.lab.call(Array(times).fill(one));
  return replies.flatMap((reply) => ('name' in reply ? [reply.name] : []));
}

test('clients with affinity leave an endpoint that is gone, and a kill leaves the rules serving', {
  timeout: 120_000,
}, async (t) => {
  await using network = await createPacketNetwork();
  for (const mode of ['nftables', 'iptables'] as const)
    await t.test(mode, async () => {
      const config = { mode, families: [4], detectLocal: { kind: 'cidr', cidrs: podCidrs } };
      await using proxy = new ProxyDriver(network.node, config);
      proxy.send({ service: serviceObject(affine) });
      for (const slice of sliceObjects(affine)) proxy.send({ slice });
      await proxy.ask({ start: true });
      const [name] = await call(network, 1);
      assert.deepEqual(await call(network, 12), Array(12).fill(name));
      const without = { ...affine, endpoints: affine.endpoints.filter((one) => one.at !== name) };
      for (const slice of sliceObjects(without)) proxy.send({ slice });
      await proxy.ask({ sync: 1 });
      const [next] = await call(network, 1);
      assert.notEqual(next, name);
      assert.deepEqual(await call(network, 12), Array(12).fill(next));
      // A kill leaves the rules serving; a proxy that knows of no Service takes them away.
      process.kill(proxy.pid, 'SIGKILL');
      await proxy.ended();
      assert.equal((await call(network, 4)).length, 4);
      await using later = new ProxyDriver(network.node, config);
      await later.ask({ start: true });
      assert.equal((await call(network, 4, 1_000)).length, 0);
      await later.ask({ stop: true, remove: true });
      await checkClean(network);
    });
});

/** After stop({ remove: true }) no rule and no route of ours is left. */
async function checkClean({ node }: PacketNetwork): Promise<void> {
  assert.doesNotMatch(await node.output(['nft', 'list', 'tables']), /deckhand/);
  assert.doesNotMatch(await node.output(['iptables-save']), /KUBE/);
  assert.doesNotMatch(await node.output(['ip', 'route']), /10\.96\./);
}
