import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pollUntil, systemClock } from '../../src/async/index.ts';
import { ensurePki } from '../../src/controlplane/pki/index.ts';
import type { Daemons } from './daemons.ts';
import type { NetworkNamespace } from './network-namespace.ts';
import type { Result, RunOptions } from './processes.ts';

/** The address at which nodes and pods of a test find the API server: that of the bridge. */
export const nodeAddress = '10.88.0.1';
const podCidr = '10.88.0.0/16';
const serviceCidr = '10.96.0.0/16';

/** Whose control plane: ours, or upstream's, whose programs are found by environment variables. */
export type Plane = 'ours' | 'upstream';

const programs = ['KUBE_APISERVER', 'KUBE_CONTROLLER_MANAGER', 'KUBE_SCHEDULER', 'ETCD'] as const;

/** Why a test cannot run under upstream's control plane here; undefined when it can. */
export function upstreamMissing(): string | undefined {
  const missing = programs.filter((name) => !process.env[name]);
  return missing.length > 0 ? `needs the programs named by ${missing.join(', ')}` : undefined;
}

/** A control plane without a node, in a network namespace. */
export class ControlPlane {
  readonly pki: string;
  readonly #namespace: NetworkNamespace;
  readonly #directory: string;
  readonly #plane: Plane;

  private constructor(plane: Plane, namespace: NetworkNamespace, directory: string) {
    this.#plane = plane;
    this.#namespace = namespace;
    this.#directory = directory;
    this.pki = join(directory, 'pki');
  }

  /** Starts it and waits until it serves. */
  static async start(
    plane: Plane,
    where: { namespace: NetworkNamespace; directory: string; daemons: Daemons },
    options: { signingDuration?: string } = {},
  ): Promise<ControlPlane> {
    const made = new ControlPlane(plane, where.namespace, where.directory);
    await mkdir(made.pki, { recursive: true });
    await ensurePki(made.pki, {
      clusterName: 'kubernetes',
      nodeName: 'unused',
      server: 'https://127.0.0.1:6443',
      serverNames: ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'localhost'],
      serverAddresses: ['127.0.0.1', '10.96.0.1', nodeAddress],
      nodeAddresses: ['127.0.0.1'],
      clock: systemClock,
    });
    const duration = options.signingDuration ?? '8760h0m0s';
    if (plane === 'ours') made.#startOurs(where.daemons, duration);
    else made.#startUpstream(where.daemons, duration);
    await pollUntil('the API server', async () => (await made.tryKubectl(['get', '--raw', '/readyz'])).status === 0, {
      timeoutMs: 60_000,
      intervalMs: 200,
    });
    return made;
  }

  #file(name: string): string {
    return join(this.pki, name);
  }

  #startOurs(daemons: Daemons, duration: string): void {
    daemons.component('apiserver', [
      ...['--data-dir', join(this.#directory, 'store'), '--cert-dir', this.pki],
      ...['--bind-address', '0.0.0.0', '--advertise-address', nodeAddress, '--service-cluster-ip-range', serviceCidr],
    ]);
    daemons.component('controllers', [
      ...['--kubeconfig', this.#file('controller-manager.conf'), '--cluster-cidr', podCidr],
      ...['--root-ca-file', this.#file('ca.crt'), ...this.#signing(duration)],
    ]);
    daemons.component('scheduler', ['--kubeconfig', this.#file('scheduler.conf')]);
  }

  #signing(duration: string): string[] {
    const [cert, key] = [this.#file('ca.crt'), this.#file('ca.key')];
    return [
      '--cluster-signing-cert-file',
      cert,
      '--cluster-signing-key-file',
      key,
      '--cluster-signing-duration',
      duration,
    ];
  }

  #startUpstream(daemons: Daemons, duration: string): void {
    const [apiserver, controllers, scheduler, etcd] = programs.map((name) => process.env[name]!);
    daemons.start('etcd', [etcd!, '--data-dir', join(this.#directory, 'etcd'), '--unsafe-no-fsync']);
    daemons.start('kube-apiserver', [
      apiserver!,
      '--etcd-servers=http://127.0.0.1:2379',
      `--tls-cert-file=${this.#file('apiserver.crt')}`,
      `--tls-private-key-file=${this.#file('apiserver.key')}`,
      `--client-ca-file=${this.#file('ca.crt')}`,
      `--kubelet-client-certificate=${this.#file('apiserver-kubelet-client.crt')}`,
      `--kubelet-client-key=${this.#file('apiserver-kubelet-client.key')}`,
      `--kubelet-certificate-authority=${this.#file('ca.crt')}`,
      `--service-account-key-file=${this.#file('sa.pub')}`,
      `--service-account-signing-key-file=${this.#file('sa.key')}`,
      '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
      '--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname',
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      '--enable-bootstrap-token-auth=true',
      '--allow-privileged=true',
      `--service-cluster-ip-range=${serviceCidr}`,
      `--advertise-address=${nodeAddress}`,
      '--secure-port=6443',
    ]);
    daemons.start('kube-controller-manager', [
      controllers!,
      `--kubeconfig=${this.#file('controller-manager.conf')}`,
      ...this.#signing(duration),
      `--root-ca-file=${this.#file('ca.crt')}`,
      `--service-account-private-key-file=${this.#file('sa.key')}`,
      '--use-service-account-credentials=true',
      '--controllers=*,bootstrap-signer-controller,token-cleaner-controller',
      '--allocate-node-cidrs=true',
      `--cluster-cidr=${podCidr}`,
      '--leader-elect=false',
      '--bind-address=127.0.0.1',
    ]);
    daemons.start('kube-scheduler', [
      scheduler!,
      `--kubeconfig=${this.#file('scheduler.conf')}`,
      '--leader-elect=false',
      '--bind-address=127.0.0.1',
    ]);
  }

  /** What `kubeadm init` allows to nodes that come with a bootstrap token. */
  async allowJoining(): Promise<void> {
    const bind = (name: string, role: string, group: string) => ({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: group }],
    });
    const tokens = 'system:bootstrappers:kubeadm:default-node-token';
    const requests = 'system:certificates.k8s.io:certificatesigningrequests';
    const items = [
      bind('kubeadm:kubelet-bootstrap', 'system:node-bootstrapper', tokens),
      bind('kubeadm:node-autoapprove-bootstrap', `${requests}:nodeclient`, tokens),
      bind('kubeadm:node-autoapprove-certificate-rotation', `${requests}:selfnodeclient`, 'system:nodes'),
    ];
    await this.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
    // What kubeadm publishes; ours does it by itself.
    const info = [
      '-n',
      'kube-public',
      'create',
      'configmap',
      'cluster-info',
      `--from-file=kubeconfig=${this.#file('admin.conf')}`,
    ];
    if (this.#plane === 'upstream') await this.kubectl(info);
  }

  /** Runs stock kubectl as the administrator. @throws Error when it fails */
  async kubectl(argv: readonly string[], options?: RunOptions): Promise<string> {
    const result = await this.tryKubectl(argv, options);
    if (result.status !== 0) throw new Error(`kubectl ${argv.join(' ')}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  }

  tryKubectl(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    const environment = { KUBECONFIG: this.#file('admin.conf'), HOME: this.#directory };
    return this.#namespace.run(['kubectl', ...argv], { ...options, environment });
  }

  async get<T = any>(...argv: string[]): Promise<T> {
    return JSON.parse(await this.kubectl(['get', ...argv, '-o', 'json'])) as T;
  }
}
