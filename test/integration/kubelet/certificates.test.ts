/** Certificates of a node that runs: renewed, replaced on disk, limited; nothing is restarted for it. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pollUntil, systemClock } from '../../../src/async/index.ts';
import { formatKubeconfig } from '../../../src/client/index.ts';
import {
  type CertificateAuthority,
  createCertificateAuthority,
  issueCertificate,
  type KeyAndCertificate,
} from '../../../src/wire/certificates/index.ts';
import { ControlPlane, nodeAddress } from '../../support/control-plane.ts';
import { type Daemon, Daemons } from '../../support/daemons.ts';
import { NetworkNamespace } from '../../support/network-namespace.ts';

const server = `${nodeAddress}:10250`;

describe('certificates of a node', () => {
  let directory: string;
  let namespace: NetworkNamespace;
  let daemons: Daemons;
  let cluster: ControlPlane;
  let authority: CertificateAuthority;
  let runtime: Daemon;
  let kubelet: Daemon;
  const path = (name: string) => join(directory, name);
  const until = <T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> =>
    pollUntil(what, () => look().catch(() => undefined), { timeoutMs: 30_000, intervalMs: 100 }) as Promise<T>;
  const replace = async (name: string, text: string): Promise<void> => {
    await writeFile(path(`${name}.new`), text, { mode: 0o600 });
    await rename(path(`${name}.new`), path(name));
  };
  const serving = (organization: string): Promise<KeyAndCertificate> =>
    issueCertificate(
      authority,
      { commonName: 'serving', organizations: [organization], ipAddresses: [nodeAddress], usages: ['server'] },
      systemClock.now(),
    );
  const write = async ({ cert, key }: KeyAndCertificate): Promise<void> => {
    await replace('serving.key', key);
    await replace('serving.crt', cert);
  };
  const shake = (...options: string[]) =>
    namespace.run(['openssl', 's_client', '-connect', server, '-CAfile', path('pki/ca.crt'), ...options], {
      input: '',
    });
  const served = async (): Promise<X509Certificate> => {
    const { stdout } = await shake();
    return new X509Certificate(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/.exec(stdout)![0]);
  };
  /** Asks the kubelet for its pods with a client certificate; gives the HTTP status. */
  const ask = async ({ cert, key }: KeyAndCertificate): Promise<string> => {
    await writeFile(path('client.pem'), `${cert}${key}`);
    const script = `printf 'GET /pods HTTP/1.1\\r\\nHost: k\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -quiet -connect ${server} -CAfile ${path('pki/ca.crt')} -cert ${path('client.pem')} -key ${path('client.pem')} 2>/dev/null`;
    return /^HTTP\/1.1 (\d+)/.exec(await namespace.output(['sh', '-c', script]))?.[1] ?? '';
  };

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dh-kcerts-'));
    namespace = await NetworkNamespace.create('kcerts');
    daemons = new Daemons(namespace, directory);
    cluster = await ControlPlane.start('ours', { namespace, directory, daemons });
    authority = { cert: readFileSync(path('pki/ca.crt'), 'utf8'), key: readFileSync(path('pki/ca.key'), 'utf8') };
    await write(await serving('first'));
    await replace('clients.crt', authority.cert);
    // Nine tenths of its life are over: it is renewed at once.
    const short = await issueCertificate(
      authority,
      { commonName: 'system:node:certain', organizations: ['system:nodes'], usages: ['client'], days: 25 / 86_400 },
      systemClock.now(),
    );
    const config = { server: 'https://127.0.0.1:6443', ca: authority.cert, ...short };
    await replace('kubelet.conf', formatKubeconfig(config, { cluster: 'c', user: 'u' }));
    const configuration = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      containerRuntimeEndpoint: `unix://${path('cri.sock')}`,
      cgroupRoot: `/dh-kcerts-${process.pid}`,
      podLogsDir: path('logs/pods'),
      rotateCertificates: true,
      tlsCertFile: 'serving.crt',
      tlsPrivateKeyFile: 'serving.key',
      tlsMinVersion: 'VersionTLS13',
      tlsCurvePreferences: [23],
      nodeLeaseDurationSeconds: 4,
      authentication: { x509: { clientCAFile: 'clients.crt' } },
    };
    await replace('kubelet.yaml', JSON.stringify(configuration));
    runtime = daemons.component('runtime', [
      ...['--listen', `unix://${path('cri.sock')}`, '--root', path('runtime/root'), '--state', path('runtime/state')],
      ...['--cgroup-parent', `/dh-kcerts-${process.pid}`],
    ]);
    kubelet = daemons.component('kubelet', [
      ...['--config', path('kubelet.yaml'), '--kubeconfig', path('kubelet.conf'), '--root-dir', path('kubelet')],
      ...['--hostname-override', 'certain', '--node-ip', nodeAddress],
    ]);
    await until('the node', async () => {
      const { conditions } = (await cluster.get('node', 'certain')).status;
      return conditions.some((one: any) => one.type === 'Ready' && one.status === 'True');
    });
  });
  after(async () => {
    if (kubelet) await daemons.remove(kubelet);
    if (runtime) await daemons.remove(runtime);
    await daemons?.[Symbol.asyncDispose]();
    await namespace?.[Symbol.asyncDispose]();
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  test('a client certificate near its end is renewed by a CSR of the node itself, and used from then on', async () => {
    const renewed = await until('the certificate', async () => {
      const pem = new X509Certificate(readFileSync(path('kubelet/pki/kubelet-client-current.pem')));
      return Date.parse(pem.validTo) - systemClock.now() > 86_400_000 && pem;
    });
    assert.match(renewed.subject, /CN=system:node:certain/);
    const { items } = await cluster.get('csr');
    assert.equal(items[0].spec.username, 'system:node:certain');
    assert.match(items[0].status.conditions[0].message, /self kubelet client certificate/);
    assert.match(readFileSync(path('kubelet.conf'), 'utf8'), /client-certificate: .*kubelet-client-current\.pem/);
    const { renewTime } = (await cluster.get('lease', 'certain', '-n', 'kube-node-lease')).spec;
    await until('a sign of life with the renewed one', async () => {
      const lease = await cluster.get('lease', 'certain', '-n', 'kube-node-lease');
      return Date.parse(lease.spec.renewTime) > Date.parse(renewTime);
    });
  });

  test('a serving certificate that is replaced on disk is shown to new connections', async () => {
    assert.match((await served()).subject, /O=first/);
    await write(await serving('second'));
    await until('the second certificate', async () => /O=second/.test((await served()).subject));
  });

  test('a client CA that is replaced on disk lets its clients in', async () => {
    const other = await createCertificateAuthority('other', systemClock.now());
    const admin = { commonName: 'someone', organizations: ['system:masters'], usages: ['client' as const] };
    const stranger = await issueCertificate(other, admin, systemClock.now());
    assert.equal(await ask(stranger), '401');
    await replace('clients.crt', `${authority.cert}${other.cert}`);
    await until('the stranger is let in', async () => (await ask(stranger)) === '200');
    assert.equal(await ask(await issueCertificate(authority, admin, systemClock.now())), '200');
  });

  test('the least version of TLS and its curves are as configured', async () => {
    assert.notEqual((await shake('-tls1_2')).status, 0);
    assert.notEqual((await shake('-tls1_3', '-curves', 'X25519')).status, 0);
    const { stdout, status } = await shake('-tls1_3', '-curves', 'P-256');
    assert.equal(status, 0);
    assert.match(stdout, /TLSv1\.3/);
  });

  test('chains of iptables tell the variant and guard loopback, and traffic of the node goes on', async () => {
    const rules = await until('the chains', async () => {
      const saved = await namespace.output(['iptables-save']);
      return saved.includes('-A INPUT -j KUBE-FIREWALL') && saved;
    });
    assert.match(rules, /:KUBE-IPTABLES-HINT /);
    assert.match(rules, /-A KUBE-FIREWALL .*-j DROP/);
    assert.equal((await shake('-tls1_3')).status, 0);
  });
});
