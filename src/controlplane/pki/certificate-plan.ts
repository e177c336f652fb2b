import type { CertificateRequest } from '../../wire/certificates/index.ts';

/** What the certificates of a cluster are made from. */
export interface PkiOptions {
  /** Common name of the authority and name of the cluster in the kubeconfigs. */
  clusterName: string;
  nodeName: string;
  /** Where clients reach the API server: `https://host:port`. */
  server: string;
  /** DNS names of the API server's certificate. */
  serverNames: readonly string[];
  /** IP addresses of the API server's certificate. */
  serverAddresses: readonly string[];
  /** IP addresses of the kubelet's serving certificate. */
  nodeAddresses: readonly string[];
}

/** One certificate of the directory: `<file>.crt` and `<file>.key`. */
export interface PlannedCertificate {
  file: string;
  request: CertificateRequest;
  /** The user name in the kubeconfig `<file>.conf`, if there is to be one. */
  kubeconfigUser?: string;
}

const client = (commonName: string, organizations: string[] = []): CertificateRequest => ({
  commonName,
  organizations,
  usages: ['client'],
});

/** Every certificate that a cluster of one node needs. */
export function planCertificates(options: PkiOptions): PlannedCertificate[] {
  const withKubeconfig = (file: string, kubeconfigUser: string, request: CertificateRequest): PlannedCertificate => ({
    file,
    request,
    kubeconfigUser,
  });
  return [
    {
      file: 'apiserver',
      request: {
        commonName: 'kube-apiserver',
        dnsNames: [...new Set(options.serverNames)],
        ipAddresses: [...new Set(options.serverAddresses)],
        usages: ['server'],
      },
    },
    { file: 'apiserver-kubelet-client', request: client('kube-apiserver-kubelet-client', ['system:masters']) },
    {
      file: 'kubelet-server',
      request: {
        commonName: `system:node:${options.nodeName}`,
        organizations: ['system:nodes'],
        dnsNames: [...new Set([options.nodeName, 'localhost'])],
        ipAddresses: [...new Set(options.nodeAddresses)],
        usages: ['server'],
      },
    },
    withKubeconfig('admin', 'kubernetes-admin', client('kubernetes-admin', ['system:masters'])),
    withKubeconfig('scheduler', 'system:kube-scheduler', client('system:kube-scheduler')),
    withKubeconfig('controller-manager', 'system:kube-controller-manager', client('system:kube-controller-manager')),
    withKubeconfig('kube-proxy', 'system:kube-proxy', client('system:kube-proxy', ['system:node-proxier'])),
    withKubeconfig('dns', 'system:kube-dns', client('system:kube-dns')),
    withKubeconfig(
      'kubelet',
      `system:node:${options.nodeName}`,
      client(`system:node:${options.nodeName}`, ['system:nodes']),
    ),
  ];
}
