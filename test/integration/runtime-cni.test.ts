import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { pollUntil } from '../../src/async/index.ts';
import { CniScript } from '../support/cni-script.ts';
import { NetworkRuntime } from '../support/network-runtime.ts';

const debianPlugins = '/usr/lib/cni';
const node = { 4: '192.168.60.1', 6: 'fd60::1' };

/** Adds an error answer of a plugin. */
const failure = (code: number, msg: string, details = '') =>
  `printf '{"cniVersion":"1.0.0","code":${code},"msg":"${msg}","details":"${details}"}'; exit 1`;

describe('CNI with a scripted plugin', { concurrency: false }, () => {
  let runtime: NetworkRuntime;
  let script: CniScript;
  let directory = '';
  let list: Record<string, unknown>;

  const configure = async (more: object = {}, file = '10-test.conflist') => {
    list = {
      cniVersion: '1.0.0',
      name: 'test',
      plugins: [{ type: 'scripted', capabilities: { portMappings: true, dns: true }, own: 1 }, { type: 'second' }],
      ...more,
    };
    await writeFile(join(directory, file), JSON.stringify(list));
  };
  const commands = () =>
    script
      .calls()
      .filter(({ command }) => command !== 'VERSION')
      .map(({ command }) => command);
  beforeEach(() => {
    for (const command of ['ADD', 'DEL', 'STATUS', 'VERSION']) script?.on(command, '');
    script?.calls();
  });
  const notes = () => (existsSync(join(runtime.base, 'root/cni')) ? readdirSync(join(runtime.base, 'root/cni')) : []);

  before(async () => {
    runtime = await NetworkRuntime.create((base: string) => {
      directory = join(base, 'net.d');
      script = new CniScript(join(base, 'bin'), 'scripted');
      new CniScript(join(base, 'bin'), 'second');
      return { cniConfDir: directory, cniBinDirs: [join(base, 'missing'), join(base, 'bin')], cniTimeoutMs: 1500 };
    });
    await mkdir(directory);
  });
  after(() => runtime?.[Symbol.asyncDispose]());

  test('the condition says what is missing or wrong, and follows the directory', async () => {
    const problem = async () => (await runtime.networkReady()).message;
    assert.match(await problem(), /no CNI configuration in /);
    await assert.rejects(runtime.runPod('early'), /no CNI configuration in /);
    await writeFile(join(directory, '05-bad.conflist'), '{\n"name": "x",\n}');
    assert.match(await problem(), /05-bad\.conflist: line 3 column 1: it is not JSON/);
    await configure({ plugins: [{ type: 'absent' }] });
    assert.match(await problem(), /CNI network "test": failed to find plugin "absent" in path \[.*missing .*bin\]/);
    await assert.rejects(runtime.runPod('absent'), /failed to find plugin "absent"/);
    await configure();
    assert.deepEqual(await runtime.networkReady().then(({ status }) => status), true);
    const before = runtime.log;
    assert.match(before, /CNI configuration passed over.*05-bad/);
    await rm(join(directory, '05-bad.conflist'));
    script.calls();
  });

  test('plugins are called as the specification says: ADD along the chain, DEL back, with the result of ADD', async () => {
    const dns = { servers: ['10.96.0.10'], searches: ['svc'], options: [] };
    const pod = await runtime.pod('web', { ports: [{ hostPort: 8080 }], dns });
    assert.equal(pod.ip, '10.77.0.5');
    const [first, second] = script.calls();
    assert.deepEqual([first!.command, second!.command], ['ADD', 'ADD']);
    assert.equal(first!.containerId, pod.id);
    assert.equal(first!.namespacePath, pod.namespacePath);
    assert.equal(first!.interfaceName, 'eth0');
    assert.match(
      first!.arguments,
      new RegExp(
        `^IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=${pod.id};K8S_POD_UID=uid-\\d+$`,
      ),
    );
    assert.deepEqual(first!.configuration, {
      cniVersion: '1.0.0',
      name: 'test',
      type: 'scripted',
      own: 1,
      runtimeConfig: { dns, portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] },
    });
    const { prevResult, ...rest } = second!.configuration;
    assert.deepEqual(rest, { cniVersion: '1.0.0', name: 'test', type: 'second' });
    assert.equal(prevResult.cniVersion, '1.0.0', 'an answer in another version is converted');
    assert.deepEqual(prevResult.ips, [{ address: '10.77.0.5/24', interface: 0 }]);
    // What was is told again, also after a kill, another configuration, and none.
    await runtime.kill('SIGKILL');
    await configure({ name: 'other', cniVersion: '0.4.0' });
    await runtime.start();
    const checks = new Set<string>();
    await pollUntil(
      'CHECK of both plugins',
      () => {
        for (const { command, configuration } of script.calls())
          if (command === 'CHECK') checks.add(configuration['type']);
        return checks.size === 2;
      },
      { timeoutMs: 5000 },
    );
    await rm(join(directory, '10-test.conflist'));
    await runtime.removePod(pod.id);
    const calls = script.calls();
    assert.deepEqual(
      calls.map(({ command, configuration }) => [command, configuration['type']]),
      [
        ['DEL', 'second'],
        ['DEL', 'scripted'],
      ],
    );
    assert.equal(calls[1]!.configuration['name'], 'test');
    assert.deepEqual(calls[1]!.configuration['runtimeConfig'], first!.configuration['runtimeConfig']);
    assert.deepEqual(calls[0]!.configuration['prevResult'].ips, prevResult.ips);
    assert.deepEqual(notes(), []);
  });

  test('what no plugin can do is refused', async () => {
    await configure({ plugins: [{ type: 'scripted' }] });
    await assert.rejects(
      runtime.runPod('ports', { ports: [{ hostPort: 8080 }] }),
      /no plugin of CNI network "test" has the capability portMappings/,
    );
    await assert.rejects(
      runtime.runPod('slow', { annotations: { 'kubernetes.io/egress-bandwidth': '1M' } }),
      /has the capability bandwidth/,
    );
    assert.deepEqual(commands(), []);
  });

  test('a plugin that fails, hangs or talks nonsense fails the pod with its own words, and all is taken back', async () => {
    await configure();
    for (const [how, pattern] of [
      [
        failure(11, 'no address', 'the pool is empty'),
        /CNI network "test": plugin type="scripted" failed \(add\): no address; the pool is empty \(code 11\)/,
      ],
      ['echo broken >&2; exit 3', /failed \(add\): broken/],
      ['exit 3', /failed \(add\): status 3 without a word/],
      ['echo nonsense; exit 0', /failed \(add\): bad result: it is not JSON: "nonsense"/],
      [`echo '{"cniVersion":"1.0.0"}'; exit 0`, /the plugins gave the pod no address/],
      ['sleep 1000', /failed \(add\): no answer within 1\.5 s; it was killed/],
      ['head -c 2000000 /dev/zero | tr "\\\\0" x; exit 0', /answered more than 1 MiB/],
    ] as const) {
      script.on('ADD', how);
      await assert.rejects(runtime.runPod('bad'), pattern);
      const seen = commands();
      assert.ok(seen.includes('DEL'), `${how}: ${seen}`);
      assert.deepEqual(notes(), []);
    }
    script.on('ADD', '');
  });

  test('DEL is repeated until it works', async () => {
    const id = await runtime.runPod('stuck');
    script.on('DEL', failure(7, 'busy'));
    for (let attempt = 0; attempt < 2; attempt++)
      await assert.rejects(
        runtime.removePod(id),
        /CNI network "test": plugin type="second" failed \(del\): busy \(code 7\)/,
      );
    script.on('DEL', 'sleep 1000');
    await assert.rejects(runtime.removePod(id), /failed \(del\): no answer within 1\.5 s; it was killed/);
    script.on('DEL', '');
    await runtime.removePod(id);
    // Nobody asks for a pod that never came to be: it is tried again in the background.
    script.on('ADD', failure(7, 'no'));
    script.on('DEL', failure(7, 'busy'));
    await assert.rejects(runtime.runPod('never'), /failed \(add\): no/);
    assert.equal(notes().length, 1);
    script.on('ADD', '');
    script.on('DEL', '');
    await pollUntil('it is taken back', () => notes().length === 0, { timeoutMs: 10_000 });
    script.calls();
  });

  test('killed at each step, nothing of a pod is left with the plugins after the next start', async () => {
    for (const point of [
      'cni-attach:noted',
      'cni-attach:added',
      'cni-attach:result',
      'run-sandbox:network',
      'cni-detach:deleted',
      'cni-detach:forgotten',
    ]) {
      await runtime.arm(`${point}=kill`);
      const life = async () => runtime.removePod(await runtime.runPod(`killed-${point.replace(':', '-')}`));
      await assert.rejects(life());
      await runtime.ended();
      await runtime.start();
      for (const { id } of (await runtime.cri.listPodSandbox({})).items) await runtime.removePod(id);
      await pollUntil(`nothing is left after ${point}`, () => notes().length === 0, { timeoutMs: 5000 });
      const seen = commands();
      assert.ok(seen.filter((one) => one === 'DEL').length >= 2, `${point}: ${seen}`);
    }
  });

  test('version 1.1: STATUS decides on the condition, GC names what is valid, versions are agreed on', async () => {
    await configure({ cniVersion: undefined, cniVersions: ['0.4.0', '1.1.0', '1.9.0'] });
    script.on('STATUS', failure(50, 'plugin not available', 'the agent is down'));
    const { status, message } = await runtime.networkReady();
    assert.equal(status, false);
    assert.match(
      message,
      /plugin type="scripted" failed \(status\): plugin not available; the agent is down \(code 50\)/,
    );
    script.on('STATUS', '');
    assert.equal((await runtime.networkReady()).status, true);
    const id = await runtime.runPod('kept');
    script.calls();
    await runtime.kill('SIGTERM');
    await runtime.start();
    await pollUntil(
      'GC',
      () =>
        script
          .calls()
          .some(
            ({ command, configuration }) =>
              command === 'GC' &&
              JSON.stringify(configuration['cni.dev/valid-attachments']) ===
                JSON.stringify([{ containerID: id, ifname: 'eth0' }]) &&
              configuration['cniVersion'] === '1.1.0',
          ),
      { timeoutMs: 5000 },
    );
    await configure({ cniVersions: ['0.4.0', '1.1.0'], disableGC: true, disableCheck: true });
    await runtime.removePod(id);
    script.on('VERSION', `echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}'; exit 0`);
    await runtime.kill('SIGTERM');
    await runtime.start();
    script.calls();
    const old = await runtime.runPod('old');
    const added = script.calls().filter(({ command }) => command === 'ADD');
    assert.deepEqual(
      added.map(({ configuration }) => configuration['cniVersion']),
      ['0.4.0', '0.4.0'],
      'the newest that all speak',
    );
    await runtime.kill('SIGTERM');
    await runtime.start();
    await runtime.removePod(old);
    assert.deepEqual([...new Set(commands())], ['DEL'], 'neither GC nor CHECK');
    script.on('VERSION', '');
    await rm(join(directory, '10-test.conflist'));
  });

  test('a pod on the network of the host needs none of it', async () => {
    const id = await runtime.runPod('host', { hostNetwork: true });
    assert.equal((await runtime.cri.podSandboxStatus({ podSandboxId: id })).status!.network!.ip, '');
    await runtime.removePod(id);
    assert.deepEqual(commands(), []);
  });
});

describe("CNI with Debian's plugins", {
  concurrency: false,
  skip: !existsSync(`${debianPlugins}/bridge`) && 'the package containernetworking-plugins is not installed',
}, () => {
  let runtime: NetworkRuntime;
  let directory = '';
  let leases = '';

  const configure = async (name: string, plugins: object[], cniVersion = '1.0.0') => {
    await rm(join(directory, '10-net.conflist'), { force: true });
    await writeFile(join(directory, '10-net.conflist'), JSON.stringify({ cniVersion, name, plugins }));
  };
  const ipam = (third: number) => ({
    type: 'host-local',
    dataDir: leases,
    ranges: [[{ subnet: `10.94.${third}.0/24` }], [{ subnet: `fd94:${third}::/64` }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  });
  const leased = (name: string) =>
    existsSync(join(leases, name)) ? readdirSync(join(leases, name)).filter((file) => /^[0-9a-f.:]+$/.test(file)) : [];

  before(async () => {
    runtime = await NetworkRuntime.create((base: string) => {
      directory = join(base, 'net.d');
      leases = join(base, 'leases');
      return { cniConfDir: directory, cniBinDirs: ['/opt/nothing', debianPlugins] };
    });
    await mkdir(directory);
    await runtime.node.output([
      'sh',
      '-c',
      'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding',
    ]);
  });
  after(() => runtime?.[Symbol.asyncDispose]());

  test('bridge, portmap, firewall, tuning and bandwidth in a chain: packets, host ports, limits, and all is given back', async () => {
    await configure('chain', [
      { type: 'bridge', bridge: 'dhcni0', isGateway: true, ipMasq: true, hairpinMode: true, ipam: ipam(1) },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'firewall', backend: 'iptables' },
      { type: 'tuning', sysctl: { 'net.core.somaxconn': '99' } },
      { type: 'bandwidth', capabilities: { bandwidth: true } },
    ]);
    const web = await runtime.pod('web', {
      ports: [{ hostPort: 12100 }, { hostPort: 12100, protocol: 'udp' }],
      annotations: { 'kubernetes.io/ingress-bandwidth': '50M' },
    });
    const other = await runtime.pod('other');
    assert.deepEqual([web.ip, web.additionalIps], ['10.94.1.2', ['fd94:1::2']]);
    assert.equal(await other.agent.ask('tcp', web.ip, 80), `web ${other.ip}`);
    await pollUntil('IPv6', async () => (await other.agent.ask('tcp', web.additionalIps[0]!, 80)).startsWith('web'), {
      timeoutMs: 5000,
    });
    for (const protocol of ['tcp', 'udp'] as const) {
      assert.match(await runtime.outsideAgent.ask(protocol, node[4], 12100), /^web/);
      assert.match(await runtime.agent.ask(protocol, '127.0.0.1', 12100), /^web/);
    }
    const enter = ['nsenter', `--net=${web.namespacePath}`];
    assert.match(await runtime.node.output([...enter, 'cat', '/proc/sys/net/core/somaxconn']), /^99$/m);
    assert.match(await runtime.node.output(['tc', 'qdisc', 'show']), /tbf .*rate 50Mbit/);
    assert.equal(leased('chain').length, 4);
    await runtime.removePod(web.id);
    await runtime.removePod(other.id);
    assert.deepEqual(leased('chain'), []);
    assert.doesNotMatch(await runtime.node.output(['iptables-save']), /12100/);
  });

  test('ptp with the old versions; a pod without its namespace gives back its address all the same', async () => {
    // IPv4 alone: the plugin waits seconds for IPv6 addresses.
    for (const version of ['0.3.1', '0.4.0', '1.0.0']) {
      const name = `ptp-${version.replaceAll('.', '')}`;
      await configure(
        name,
        [
          {
            type: 'ptp',
            ipMasq: true,
            ipam: { ...ipam(2), ranges: ipam(2).ranges.slice(0, 1), routes: [{ dst: '0.0.0.0/0' }] },
          },
          { type: 'portmap', capabilities: { portMappings: true } },
        ],
        version,
      );
      const pod = await runtime.pod('ptp', { ports: [{ hostPort: 12110 }] });
      assert.match(await runtime.agent.ask('tcp', pod.ip, 80), /^ptp/, version);
      assert.match(await runtime.outsideAgent.ask('tcp', node[4], 12110), /^ptp/, version);
      await runtime.kill('SIGKILL');
      await runtime.start();
      if (version === '1.0.0') await runtime.node.output(['umount', '--lazy', pod.namespacePath]);
      await runtime.removePod(pod.id);
      assert.deepEqual(leased(name), [], version);
    }
  });

  test('macvlan beside a loopback plugin', async (t) => {
    const probe = await runtime.node.run(['ip', 'link', 'add', 'probe0', 'link', 'up0', 'type', 'macvlan']);
    if (probe.status !== 0) return t.skip('the kernel has no macvlan');
    await runtime.node.run(['ip', 'link', 'delete', 'probe0']);
    await configure('mac', [
      { type: 'macvlan', master: 'up0', ipam: { type: 'static', addresses: [{ address: '192.168.60.77/24' }] } },
    ]);
    const pod = await runtime.pod('mac');
    assert.equal(pod.ip, '192.168.60.77');
    assert.match(await runtime.outsideAgent.ask('tcp', pod.ip, 80), /^mac/);
    await runtime.removePod(pod.id);
  });

  test('a pod that CNI made goes by CNI, also when the directory is empty by then and the bridge makes pods', async () => {
    await configure('chain', [{ type: 'bridge', bridge: 'dhcni1', isGateway: true, ipam: ipam(3) }]);
    const id = await runtime.runPod('before');
    await rm(join(directory, '10-net.conflist'));
    await runtime.kill('SIGTERM');
    await runtime.start({ podCidr: '10.93.0.0/24' });
    const pod = await runtime.pod('after');
    assert.equal(pod.ip, '10.93.0.2');
    await runtime.removePod(id);
    assert.deepEqual(leased('chain'), []);
    await configure('chain', [{ type: 'bridge', bridge: 'dhcni1', isGateway: true, ipam: ipam(3) }]);
    await runtime.removePod(pod.id);
    await pollUntil('its link is gone', async () => !(await runtime.links()).includes(`dh${pod.id.slice(0, 12)}`), {
      timeoutMs: 10_000,
    });
  });
});
