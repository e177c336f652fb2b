import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ArchiveEntry,
  busyboxEntries,
  layoutFiles,
  makeImage,
  makeLayer,
  packFiles,
  programEntries,
  type TestImage,
} from './images.ts';

/** Where the stand-in programs are. */
const programs = join(import.meta.dirname, '../integration/charts/stand-in');

const applets = (
  'sh base64 basename cat chmod chown cp cut date dd dirname echo grep head hexdump hostname httpd id ln ls mkdir mv nc nslookup ' +
  'ps readlink rm sed seq sleep sort stat sysctl tail test timeout touch tr true wc wget'
).split(' ');

/** What the pages are that probes ask for. */
const pages =
  'index.html -/ready -/healthy healthz readyz livez metrics api/health api/v1/health _cluster/health minio/health/live minio/health/ready wp-login.php'.split(
    ' ',
  );

/** The programs that images start with, by image. Those without one are a shell with the tools. */
const entrypoints: Record<string, string> = {
  'docker.io/library/postgres:16': 'postgres',
  'quay.io/prometheuscommunity/postgres-exporter:v0.15.0': 'exporter',
  'docker.io/library/mysql:8.4': 'mysqld',
  'docker.io/bitnami/mariadb:11.4': 'mysqld',
  'gcr.io/google-samples/xtrabackup:1.0': '',
  'docker.io/bitnami/os-shell:12-debian-12-r47': '',
  'docker.io/bitnami/redis:7.2': '',
  'docker.io/bitnami/rabbitmq:3.13': 'rabbitmq-server',
  'docker.elastic.co/elasticsearch/elasticsearch:8.5.1': 'elasticsearch',
  'docker.io/bitnami/kafka:3.8': 'kafka',
  'quay.io/minio/minio:RELEASE.2024-12-18T13-15-44Z': 'minio',
  'quay.io/minio/mc:RELEASE.2024-11-21T17-21-54Z': '',
  'quay.io/prometheus-operator/prometheus-config-reloader:v0.79.2': 'config-reloader',
  'quay.io/prometheus/prometheus:v3.1.0': 'prometheus',
  'docker.io/nginxinc/nginx-unprivileged:1.27-alpine': '',
  'docker.io/library/busybox:1.31.1': '',
  'docker.io/library/busybox:1.36': '',
  'docker.io/library/busybox:latest': '',
  'docker.io/curlimages/curl:8.9.1': '',
  'quay.io/kiwigrid/k8s-sidecar:1.28.0': 'dashboard-sidecar',
  'docker.io/grafana/grafana:11.4.0': 'grafana',
  'quay.io/prometheus/node-exporter:v1.8.2': 'node-exporter',
  'cr.fluentbit.io/fluent/fluent-bit:3.2.2': '',
  'registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.14.0': 'kube-state-metrics',
  'registry.k8s.io/metrics-server/metrics-server:v0.7.2': 'metrics-server',
  'quay.io/jetstack/cert-manager-controller:v1.16.2': 'cert-manager-controller',
  'quay.io/jetstack/cert-manager-webhook:v1.16.2': 'cert-manager-webhook',
  'quay.io/jetstack/cert-manager-cainjector:v1.16.2': 'cert-manager-cainjector',
  'quay.io/jetstack/cert-manager-startupapicheck:v1.16.2': 'startupapicheck',
  'registry.k8s.io/ingress-nginx/kube-webhook-certgen:v1.5.0': 'webhook-certgen',
  'docker.io/bitnami/wordpress:6.7': 'wordpress',
  'docker.io/library/memcached:1.6-alpine': 'memcached',
  'docker.io/envoyproxy/envoy:v1.32-latest': 'proxy',
  'registry.example.com:5000/shop/web:1.4.2': 'webapp',
  'docker.io/amazon/aws-cli:2.22.0': '',
  'docker.io/hashicorp/vault:1.18.1': 'vault',
};

/** Images that say themselves who runs them; the others leave that to the pod, or are root. */
const users: Record<string, string> = {
  'quay.io/jetstack/cert-manager-controller:v1.16.2': '1000',
  'quay.io/jetstack/cert-manager-webhook:v1.16.2': '1000',
  'quay.io/jetstack/cert-manager-cainjector:v1.16.2': '1000',
  'quay.io/jetstack/cert-manager-startupapicheck:v1.16.2': '1000',
  'docker.io/curlimages/curl:8.9.1': '100:101',
};

/** The image whose manifest names it by digest, and whose program may bind low ports by a file capability. */
const ingress = 'registry.k8s.io/ingress-nginx/controller:v1.12.0';

/** What the charts' images are here: an archive for `deckhand image import`, and the digest of the one named by it. */
export async function chartImages(): Promise<{ archive: Buffer; ingressDigest: string }> {
  const base = makeLayer(await rootEntries(), { compression: 'zstd' });
  const config = (entrypoint: string, user?: string) => ({
    Env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'OPENSSL_CONF=/etc/ssl/openssl.cnf'],
    ...(entrypoint ? { Entrypoint: [entrypoint] } : { Cmd: ['sh'] }),
    ...(user ? { User: user } : {}),
  });
  const images: { image: TestImage; name: string }[] = Object.entries(entrypoints).map(([name, entrypoint]) => ({
    name,
    // An image of its own for each name, as they are in life.
    image: makeImage([base], { config: { ...config(entrypoint, users[name]), Labels: { name } } }),
  }));
  const controller = makeImage([base, makeLayer(await capableEntries(), { compression: 'zstd' })], {
    config: config('/usr/bin/capable-sh'),
  });
  images.push({ name: ingress, image: controller });
  return { archive: packFiles(layoutFiles(images)), ingressDigest: controller.digest };
}

async function rootEntries(): Promise<ArchiveEntry[]> {
  const names = await readdir(programs);
  const files = await Promise.all(
    names.map(async (name): Promise<ArchiveEntry> => {
      const content = await readFile(join(programs, name));
      return name.endsWith('.sh')
        ? { path: `usr/local/lib/${name}`, content }
        : { path: `usr/local/bin/${name}`, content, mode: 0o755 };
    }),
  );
  const link = (path: string, linkPath: string): ArchiveEntry => ({ path, linkPath, mode: 0o777 });
  const started = new Set(Object.values(entrypoints).filter(Boolean));
  return [
    ...(await busyboxEntries(applets)),
    ...['usr/', 'usr/bin/', 'usr/local/', 'usr/local/bin/', 'usr/local/lib/', 'etc/ssl/', 'www/'].map((path) => ({
      path,
    })),
    ...(await programEntries('/usr/bin/openssl', 'usr/bin/openssl')),
    { path: 'etc/ssl/openssl.cnf', content: '[req]\ndistinguished_name = dn\n[dn]\n' },
    ...files,
    { path: 'bin/bash', mode: 0o755, content: '#!/bin/sh\nexec sh "$@"\n' },
    link('usr/bin/env', '../../bin/busybox'),
    ...['redis-server', 'curl', ...started].map((name) => link(`usr/local/bin/${name}`, 'stand-in')),
    ...['pg_isready', 'psql', 'pg_dump', 'mysqladmin', 'mysql', 'redis-cli'].map((name) =>
      link(`usr/local/bin/${name}`, 'client'),
    ),
    // The first of what official images start with: it becomes what comes after it.
    ...['usr/bin', 'usr/local/bin'].map((path) => ({
      path: `${path}/docker-entrypoint.sh`,
      mode: 0o755,
      content: '#!/bin/sh\nexec "$@"\n',
    })),
    link('fluent-bit/bin/fluent-bit', '../../usr/local/bin/stand-in'),
    ...pageEntries(),
  ];
}

function pageEntries(): ArchiveEntry[] {
  const directories = new Set<string>();
  for (const page of pages)
    for (let at = page.indexOf('/'); at >= 0; at = page.indexOf('/', at + 1))
      directories.add(`www/${page.slice(0, at)}/`);
  return [
    ...[...directories].map((path) => ({ path })),
    ...pages.map((page) => ({ path: `www/${page}`, content: `${page} ok\n` })),
  ];
}

/** A shell that holds CAP_NET_BIND_SERVICE by its file, as the controller's image has it on what it starts with. */
async function capableEntries(): Promise<ArchiveEntry[]> {
  // struct vfs_cap_data, revision 2, effective: permitted is bit 10.
  const attribute = Buffer.alloc(20);
  attribute.writeUInt32LE(0x02000001, 0);
  attribute.writeUInt32LE(1 << 10, 4);
  return [
    {
      path: 'usr/bin/busybox',
      mode: 0o755,
      content: await readFile('/bin/busybox'),
      attributes: { 'security.capability': attribute },
    },
    { path: 'usr/bin/capable-sh', mode: 0o755, content: '#!/usr/bin/busybox sh\nexec "$@"\n' },
    {
      path: 'nginx-ingress-controller',
      mode: 0o755,
      content: `#!/usr/bin/busybox sh\n${['stand-in', 'databases', 'agents'].map((name) => `. /usr/local/lib/${name}.sh`).join('\n')}\nname=nginx-ingress-controller\nnginx_ingress_controller "$@"\nforever\n`,
    },
    { path: 'wait-shutdown', mode: 0o755, content: '#!/bin/sh\nsleep 1\n' },
  ];
}
