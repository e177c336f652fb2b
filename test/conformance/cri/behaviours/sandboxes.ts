import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { ContainerState, NamespaceMode, PodSandboxState } from '../../../../src/api/cri/index.ts';
import type { Topic } from '../behaviour.ts';
import { fails, notNow, refused, taken } from '../expect.ts';

const security = (namespaceOptions: object) => ({ linux: { securityContext: { namespaceOptions } } });
const { POD, CONTAINER, NODE, TARGET } = NamespaceMode;

/** The life of sandboxes, and what containers find in them. */
export const sandboxes: Topic = [
  'sandboxes',
  [
    {
      name: 'a sandbox keeps its metadata, labels and annotations, and is ready',
      async run(cri) {
        const labels = { app: 'web', 'example.org/tier': 'front' };
        const annotations = { note: 'ä ö ü\nnew line', empty: '' };
        await using pod = await cri.pod({ labels, annotations });
        const { podSandboxStatus: _, ...status } = { podSandboxStatus: 0, ...(await pod.status()) };
        assert.equal(status.id, pod.id);
        assert.equal(status.state, PodSandboxState.SANDBOX_READY);
        assert.deepEqual([status.labels, status.annotations], [labels, annotations]);
        const { name, uid, namespace, attempt } = status.metadata!;
        assert.deepEqual({ name, uid, namespace, attempt }, pod.config.metadata);
        assert.ok(Math.abs(Number(status.createdAt / 1_000_000n) - Date.now()) < 60_000);
        const [listed] = (await cri.runtime.listPodSandbox({ filter: { id: pod.id } })).items;
        assert.deepEqual([listed!.labels, listed!.annotations], [labels, annotations]);
        assert.deepEqual([listed!.state, listed!.createdAt], [status.state, status.createdAt]);
      },
    },
    {
      name: 'one that is stopped is there and not ready; one that is removed is gone',
      async run(cri) {
        const pod = await cri.pod();
        await pod.stop();
        assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_NOTREADY);
        await pod.remove();
        await fails(pod.status(), ['NOT_FOUND']);
        assert.deepEqual((await cri.runtime.listPodSandbox({ filter: { id: pod.id } })).items, []);
      },
    },
    {
      name: 'its end is that of its containers',
      async run(cri) {
        await using pod = await cri.pod();
        const [one, two] = [await pod.run(), await pod.run()];
        await pod.stop();
        for (const container of [one, two]) {
          const status = await container.status();
          assert.equal(status.state, ContainerState.CONTAINER_EXITED);
          assert.ok([137, 0].includes(status.exitCode), `exit code ${status.exitCode}`);
        }
        await pod.remove();
        await fails(one.status(), ['NOT_FOUND']);
      },
    },
    {
      name: 'one that runs can be removed at once, or must be stopped first and says so',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        await pod.remove().catch(async (error: Error) => {
          assert.match(error.message, /not fully stopped|running/);
          await pod.stop();
          await pod.remove();
        });
        await fails(container.status(), ['NOT_FOUND']);
      },
    },
    {
      name: 'a name can be taken once; another attempt is another name',
      async run(cri) {
        await using pod = await cri.pod();
        await fails(cri.runtime.runPodSandbox({ config: pod.config }), taken, /reserve/);
        const again = { ...pod.config, metadata: { ...pod.config.metadata, attempt: 1 } };
        const { podSandboxId } = await cri.runtime.runPodSandbox({ config: again });
        assert.notEqual(podSandboxId, pod.id);
        await cri.runtime.stopPodSandbox({ podSandboxId });
        await cri.runtime.removePodSandbox({ podSandboxId });
      },
    },
    {
      name: 'containers have its host name, also in /etc/hostname',
      async run(cri) {
        await using pod = await cri.pod({ hostname: 'web-0' });
        const container = await pod.run();
        assert.equal(
          await container.sh('hostname; cat /etc/hostname; cat /proc/sys/kernel/hostname'),
          'web-0\nweb-0\nweb-0',
        );
      },
    },
    {
      name: 'in the network of the host, containers have the name and the links of the host and no address is told',
      async run(cri) {
        await using pod = await cri.pod(security({ network: NODE, pid: CONTAINER }));
        const container = await pod.run();
        assert.equal(await container.sh('cat /proc/sys/kernel/hostname'), hostname());
        const links = (text: string) =>
          text
            .split('\n')
            .slice(2)
            .map((line) => line.split(':')[0]!.trim())
            .filter(Boolean);
        const own = links(await container.sh('cat /proc/net/dev')).filter((name) => !/^(veth|dh[0-9a-f])/.test(name));
        const host = links(readFileSync('/proc/self/net/dev', 'utf8'));
        assert.ok(own.every((name) => host.includes(name)) && own.includes('lo'), own.join());
        assert.equal((await pod.status()).network?.ip ?? '', '');
        assert.equal((await pod.status()).linux!.namespaces!.options!.network, NODE);
      },
    },
    {
      name: 'the resolver is as it was told',
      async run(cri) {
        const dnsConfig = {
          servers: ['10.10.10.10', '10.10.10.11'],
          searches: ['a.example', 'b.example'],
          options: ['ndots:3', 'timeout:1'],
        };
        await using pod = await cri.pod({ dnsConfig });
        const lines = (await (await pod.run()).sh('cat /etc/resolv.conf')).split('\n');
        assert.ok(lines.includes('search a.example b.example'));
        assert.ok(lines.includes('nameserver 10.10.10.10') && lines.includes('nameserver 10.10.10.11'));
        assert.ok(lines.includes('options ndots:3 timeout:1'));
      },
    },
    {
      name: 'told nothing of resolvers, containers have that of the host',
      async run(cri) {
        await using pod = await cri.pod();
        const text = await (await pod.run()).sh('cat /etc/resolv.conf');
        assert.equal(text, readFileSync('/etc/resolv.conf', 'utf8').trim());
      },
    },
    {
      name: 'PID mode CONTAINER: the command is process 1, and alone',
      async run(cri) {
        await using pod = await cri.pod(security({ pid: CONTAINER }));
        const [one] = [await pod.run(), await pod.run()];
        assert.match(await one!.sh('cat /proc/1/cmdline | tr "\\0" " "'), /^sh -c trap/);
        assert.equal((await pod.status()).linux!.namespaces!.options!.pid, CONTAINER);
      },
    },
    {
      name: 'PID mode POD: containers see one another, and none is process 1',
      async run(cri) {
        await using pod = await cri.pod(security({ pid: POD }));
        const one = await pod.run({ command: ['sleep', '4711'] });
        const two = await pod.run();
        assert.ok((await two.sh('ps -o args')).includes('sleep 4711'));
        assert.doesNotMatch(await one.sh('cat /proc/1/cmdline | tr "\\0" " "'), /^sleep 4711/);
      },
    },
    {
      name: 'PID mode POD: orphans are taken away',
      async run(cri) {
        await using pod = await cri.pod(security({ pid: POD }));
        const container = await pod.run();
        await container.sh('(sleep 0.1 & exec sleep 0.05) & sleep 0.4');
        const states = await container.sh(
          "sleep 0.2; for f in /proc/[0-9]*/stat; do cut -d' ' -f3 $f 2>/dev/null; done | sort -u",
        );
        assert.ok(!states.split('\n').includes('Z'), `states ${states}`);
      },
    },
    {
      name: 'PID mode NODE: containers see the processes of the host',
      async run(cri) {
        await using pod = await cri.pod(security({ pid: NODE }));
        const container = await pod.run();
        const { pid } = await container.info();
        assert.match(await container.sh(`cat /proc/${pid}/cmdline | tr "\\0" " "`), /^sh -c trap/);
        assert.match(await container.sh(`cat /proc/${process.pid}/cmdline`), /main\.ts/);
      },
    },
    {
      name: 'PID mode TARGET: a container sees the processes of another',
      async run(cri) {
        await using pod = await cri.pod(security({ pid: CONTAINER }));
        const target = await pod.run({ command: ['sleep', '4712'] });
        const debug = await pod.run({
          ...security({ pid: TARGET, targetId: target.id }),
        });
        assert.match(await debug.sh('cat /proc/1/cmdline | tr "\\0" " "'), /^sleep 4712/);
      },
    },
    {
      name: 'PID mode TARGET needs a container of the same pod that runs',
      async run(cri) {
        await using pod = await cri.pod();
        await fails(pod.run(security({ pid: TARGET, targetId: 'nothing' })), [...refused, 'NOT_FOUND']);
        await using other = await cri.pod();
        const stranger = await other.run();
        await fails(pod.run(security({ pid: TARGET, targetId: stranger.id })), [...refused, 'NOT_FOUND']);
        const ended = await pod.run({ command: ['true'] });
        await ended.exited();
        await fails(pod.run(security({ pid: TARGET, targetId: ended.id })), [...refused, 'NOT_FOUND']);
      },
    },
    {
      name: 'containers share System V memory and /dev/shm, which is small',
      async run(cri) {
        await using pod = await cri.pod();
        const [one, two] = [await pod.run(), await pod.run()];
        await one.sh('echo shared > /dev/shm/file');
        assert.equal(await two.sh('cat /dev/shm/file'), 'shared');
        assert.equal(await one.sh('readlink /proc/1/ns/ipc'), await two.sh('readlink /proc/1/ns/ipc'));
        assert.match(await two.sh("df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"), /^65536$/);
      },
    },
    {
      name: 'IPC mode NODE: containers have the host’s',
      async run(cri) {
        await using pod = await cri.pod(security({ ipc: NODE, pid: CONTAINER }));
        const container = await pod.run();
        const { pid } = await container.info();
        const { readlinkSync } = await import('node:fs');
        assert.equal(readlinkSync(`/proc/${pid}/ns/ipc`), readlinkSync('/proc/self/ns/ipc'));
      },
    },
    {
      name: 'sysctls of the network and of IPC are set, safe and unsafe ones',
      async run(cri) {
        const sysctls = {
          'kernel.shm_rmid_forced': '1',
          'fs.mqueue.msg_max': '111',
          'net.ipv4.ip_local_port_range': '2000 3000',
        };
        await using pod = await cri.pod({ linux: { sysctls } });
        const container = await pod.run();
        const read =
          'cat /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max /proc/sys/net/ipv4/ip_local_port_range';
        assert.deepEqual((await container.sh(read)).split(/\s+/), ['1', '111', '2000', '3000']);
      },
    },
    {
      name: 'a sysctl of the whole machine is refused',
      async run(cri) {
        const config = cri.podConfig({ linux: { sysctls: { 'kernel.panic': '7' } } });
        const run = async () => {
          const { podSandboxId } = await cri.runtime.runPodSandbox({ config });
          await cri.runtime.stopPodSandbox({ podSandboxId });
          await cri.runtime.removePodSandbox({ podSandboxId });
        };
        await fails(run(), refused, /kernel\.panic/);
      },
    },
    {
      name: 'a sysctl of a namespace that is the host’s is refused',
      async run(cri) {
        const network = { ...security({ network: NODE }).linux, sysctls: { 'net.core.somaxconn': '7' } };
        await fails(cri.pod({ linux: network }), refused, /net\.core\.somaxconn/);
        const ipc = { ...security({ ipc: NODE }).linux, sysctls: { 'kernel.shm_rmid_forced': '1' } };
        await fails(cri.pod({ linux: ipc }), refused, /kernel\.shm_rmid_forced/);
      },
    },
    {
      name: 'unprivileged containers may listen on low ports and ping',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const read = 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range';
        assert.deepEqual((await container.sh(read)).split(/\s+/), ['0', '0', '2147483647']);
      },
    },
    {
      name: 'the verbose status is JSON',
      async run(cri) {
        await using pod = await cri.pod();
        const { info } = await cri.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
        assert.equal(typeof JSON.parse(info['info']!), 'object');
      },
    },
    {
      name: 'the status brings those of the containers',
      needs: ['events'],
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run();
        const answer = await cri.runtime.podSandboxStatus({ podSandboxId: pod.id });
        assert.deepEqual(
          answer.containersStatuses.map(({ id }) => id),
          [container.id],
        );
        assert.ok(answer.timestamp > 0n);
      },
    },
    {
      name: 'a container’s processes are below the cgroup parent that was asked for',
      async run(cri) {
        const cgroupParent = `/${cri.unique('dh-suite')}/pod`;
        const { removeCgroup } = await import('../cgroups.ts');
        try {
          await using pod = await cri.pod({ linux: { cgroupParent } });
          const { pid } = await (await pod.run()).info();
          const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
            .trim()
            .split('\n')
            .filter((line) => /:memory:|^0::\/./.test(line));
          assert.ok(
            groups.some((line) => line.includes(`${cgroupParent}/`)),
            groups.join(),
          );
        } finally {
          removeCgroup(cgroupParent);
          removeCgroup(cgroupParent.replace(/\/pod$/, ''));
        }
      },
    },
    {
      name: 'a sandbox that cannot be is refused: no config, no metadata, an unknown handler, a long host name',
      async run(cri) {
        await fails(cri.runtime.runPodSandbox({}), refused);
        await fails(cri.runtime.runPodSandbox({ config: { hostname: 'x' } }), refused);
        await fails(cri.pod({}, 'no-such-handler'), [...refused, 'NOT_FOUND'], /no-such-handler/);
        await fails(cri.pod({ hostname: 'x'.repeat(65) }), refused);
      },
    },
    {
      name: 'nothing can be made or run in a sandbox that is stopped',
      async run(cri) {
        await using pod = await cri.pod();
        const created = await pod.create();
        await pod.stop();
        await fails(pod.create(), [...notNow, 'NOT_FOUND']);
        await fails(created.start(), [...notNow, 'NOT_FOUND']);
      },
    },
    {
      name: 'large annotations are kept',
      async run(cri) {
        const annotations = { large: 'x'.repeat(300_000) };
        await using pod = await cri.pod({ annotations });
        assert.equal((await pod.status()).annotations['large']!.length, 300_000);
        const container = await pod.run({ annotations });
        assert.equal((await container.status()).annotations['large']!.length, 300_000);
      },
    },
    {
      name: 'its log directory is made when a container has a log there',
      async run(cri) {
        await using pod = await cri.pod();
        const container = await pod.run({ command: ['echo', 'hello'] });
        await container.exited();
        assert.ok(existsSync(container.logPath));
      },
    },
    {
      name: 'an interrupted pod can be run again under its next attempt with the same containers',
      async run(cri) {
        await using first = await cri.pod();
        await (await first.run({ metadata: { name: 'main', attempt: 0 } })).stop();
        await first.stop();
        await using second = await cri.pod({ metadata: { ...first.config.metadata, attempt: 1 } });
        const container = await second.run({ metadata: { name: 'main', attempt: 0 } });
        assert.equal((await container.status()).state, ContainerState.CONTAINER_RUNNING);
      },
    },
  ],
];
