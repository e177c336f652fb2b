import assert from 'node:assert/strict';
import { Protocol } from '../../../../src/api/cri/index.ts';
import { pollUntil } from '../../../../src/async/index.ts';
import { output, run } from '../../../support/processes.ts';
import type { Topic } from '../behaviour.ts';

const serve = ['sh', '-c', 'mkdir -p /w; hostname > /w/index.html; exec httpd -f -p 8080 -h /w'];
const page = async (address: string, port: number) =>
  (
    await run(['curl', '-s', '--max-time', '2', `http://${address.includes(':') ? `[${address}]` : address}:${port}/`])
  ).stdout.trim();
const served = (address: string, port: number) =>
  pollUntil(`a page of ${address}:${port}`, async () => (await page(address, port)) || undefined, {
    timeoutMs: 10_000,
    intervalMs: 50,
  });

/** The network of pods. */
export const networking: Topic = [
  'networking',
  [
    {
      name: 'a pod has an address, a link called eth0 and a loopback that is up',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const ip = await pod.ip();
        assert.match(await container.sh('ip -o -4 addr show eth0'), new RegExp(`inet ${ip.replaceAll('.', '\\.')}/`));
        assert.match(await container.sh('ip -o -4 addr show lo'), /inet 127\.0\.0\.1\/8/);
        assert.match(await container.sh('ip route'), /^default via /m);
      },
    },
    {
      name: 'the host reaches a pod, a pod the host, and a pod another',
      async run(cri) {
        await using server = await cri.pod({ hostname: 'server' });
        await server.run({ command: serve });
        const ip = await server.ip();
        assert.equal(await served(ip, 8080), 'server');
        await using client = await cri.pod();
        const container = await client.run();
        const ask = String.raw`printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 ${ip} 8080 | tail -n 1`;
        assert.equal(await container.sh(ask), 'server');
        const gateway = await container.sh("ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'");
        await container.sh(`ping -c 1 -W 2 ${gateway}`);
      },
    },
    {
      name: 'a host port leads to a port of the pod, also on loopback, and is free when the pod has ended',
      alone: true,
      async run(cri) {
        const hostPort = 12_345;
        const portMappings = [{ protocol: Protocol.TCP, containerPort: 8080, hostPort }];
        await using pod = await cri.pod({ hostname: 'mapped', portMappings });
        await pod.run({ command: serve });
        assert.equal(await served('127.0.0.1', hostPort), 'mapped');
        await pod.stop();
        assert.equal(await page('127.0.0.1', hostPort), '');
        await using next = await cri.pod({ hostname: 'next', portMappings });
        await next.run({ command: serve });
        assert.equal(await served('127.0.0.1', hostPort), 'next');
      },
    },
    {
      name: 'a host port of one address is open on that only; a UDP port is another than the TCP port',
      alone: true,
      async run(cri) {
        const portMappings = [
          { protocol: Protocol.TCP, containerPort: 8080, hostPort: 12_346, hostIp: '127.0.0.1' },
          { protocol: Protocol.UDP, containerPort: 8081, hostPort: 12_346 },
        ];
        await using pod = await cri.pod({ hostname: 'one', portMappings });
        await pod.run({ command: serve });
        assert.equal(await served('127.0.0.1', 12_346), 'one');
        const gateway = (await pod.ip()).replace(/\.\d+$/, '.1');
        assert.equal(await page(gateway, 12_346), '');
      },
    },
    {
      name: 'addresses differ, and come back when pods end',
      async run(cri) {
        const pods = await Promise.all(Array.from({ length: 6 }, () => cri.pod()));
        try {
          const ips = await Promise.all(pods.map((pod) => pod.ip()));
          assert.equal(new Set(ips).size, 6);
        } finally {
          await Promise.all(pods.map((pod) => pod[Symbol.asyncDispose]()));
        }
        assert.ok(!(await output(['ip', 'route'])).includes(pods[0]!.id));
      },
    },
    {
      name: 'a stopped pod has no address and no link on the host any more',
      async run(cri) {
        await using pod = await cri.pod();
        const ip = await pod.ip();
        await pod.stop();
        assert.equal((await run(['ping', '-c', '1', '-W', '1', ip])).status, 1);
      },
    },
  ],
];
