/** Pods as users write them: what twenty public charts make, with stand-ins in their images that do what charts expect. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Charts } from '../support/charts.ts';

describe('charts', { skip: existsSync('/usr/bin/openssl') ? false : 'openssl is not installed' }, () => {
  let charts: Charts;

  before(async () => {
    charts = await Charts.start();
  });
  after(() => charts?.[Symbol.asyncDispose]());

  describe('side by side', { concurrency: 20 }, () => {
    test('postgres: a locked-down StatefulSet whose data outlives its pod', async () => {
      const namespace = 'postgres';
      await charts.settled(namespace);
      const sh = (script: string) => charts.sh(namespace, 'postgres-0', script, 'postgresql');
      assert.equal(await sh('psql -c "GET greeting"'), 'hello from the init script\n');
      assert.match(await charts.logs(namespace, 'postgres-0', 'postgresql'), /as 999:999 with 12 letters/);
      const status = await sh('cat /proc/self/status');
      assert.match(status, /^CapEff:\s+0+$/m);
      assert.match(status, /^CapBnd:\s+0+$/m);
      assert.match(status, /^NoNewPrivs:\s+1$/m);
      assert.match(status, /^Seccomp:\s+2$/m);
      assert.match(await sh('touch /x 2>&1 || true'), /Read-only file system/);
      assert.equal(await sh('stat -c %u:%g:%a $PGDATA'), '999:999:700\n');
      assert.match(await sh('grep " /dev/shm " /proc/mounts'), /tmpfs.*size=16384k/);
      assert.match(await sh('cat /etc/postgres/postgresql.conf'), /max_connections/);
      await sh('psql -c "SET row kept"');
      await charts.deletePod(namespace, 'postgres-0');
      await charts.settled(namespace);
      assert.equal(await charts.sh(namespace, 'postgres-0', 'psql -h postgres -c "GET row"', 'postgresql'), 'kept\n');
      const log = await charts.logs(namespace, 'postgres-0', 'postgresql');
      assert.match(log, /skipping initialization[\s\S]*data of a clean shutdown/);
    });

    test('mysql: init containers that differ by ordinal, clone from the one before and give their data away', async () => {
      const namespace = 'mysql';
      await charts.settled(namespace);
      assert.equal(await charts.sh(namespace, 'mysql-1', 'mysql -e "GET users"', 'mysql'), 'app@%\n');
      assert.match(await charts.sh(namespace, 'mysql-1', 'cat /etc/mysql/conf.d/*', 'mysql'), /read-only[\s\S]*id=101/);
      assert.equal(
        await charts.sh(namespace, 'mysql-0', 'id -u; stat -c %u:%g /var/lib/mysql', 'mysql'),
        '27\n27:27\n',
      );
      assert.equal(await charts.sh(namespace, 'mysql-0', 'ls /docker-entrypoint-initdb.d', 'mysql'), '01-users.sql\n');
      assert.match(await charts.logs(namespace, 'mysql-0', 'xtrabackup'), /ready for replication/);
      const order = (await charts.pod(namespace, 'mysql-1')).status.initContainerStatuses.map(
        ({ state }: any) => state.terminated.finishedAt,
      );
      assert.deepEqual(order, [...order].sort());
      await charts.kubectl(namespace, 'delete', 'statefulset/mysql', '--wait', '--timeout=60s');
      await charts.until('its claims are gone', async () => (await charts.list(namespace, 'pvc')).length === 0);
    });

    test('redis: scripts from ConfigMaps, sysctls in its own network, replicas that watch their master', async () => {
      const namespace = 'redis';
      await charts.settled(namespace);
      const cli = (line: string) => charts.sh(namespace, 'redis-master-0', `redis-cli ${line}`);
      assert.equal(await cli('SET key value'), 'OK\n');
      assert.equal(await charts.sh(namespace, 'redis-replicas-1', 'redis-cli -h redis-master GET key'), 'value\n');
      const sysctl = 'sysctl -n net.core.somaxconn net.ipv4.ip_local_port_range';
      assert.equal(await charts.sh(namespace, 'redis-master-0', sysctl), '10000\n20000\t60000\n');
      assert.notEqual(await readFile('/proc/sys/net/core/somaxconn', 'utf8'), '10000\n');
      // A crash: the container restarts where it was, with its data.
      const before = await charts.pod(namespace, 'redis-master-0');
      await charts.sh(namespace, 'redis-master-0', 'touch /data/crash; kill -TERM 1');
      await charts.until('its restart', async () => {
        const { status } = await charts.pod(namespace, 'redis-master-0');
        return status.containerStatuses[0].restartCount === 1 && status.containerStatuses[0].ready;
      });
      assert.equal((await charts.pod(namespace, 'redis-master-0')).metadata.uid, before.metadata.uid);
      assert.equal(await cli('GET key'), 'value\n');
      await charts.settled(namespace);
    });

    test('rabbitmq: names from its own fields, peers from the API, a cookie of its own', async () => {
      const namespace = 'rabbitmq';
      await charts.settled(namespace);
      const log = await charts.logs(namespace, 'rabbitmq-1');
      assert.match(log, /peer discovery: 200/);
      assert.match(log, /name rabbitmq-1\.rabbitmq-headless\.rabbitmq\.svc\.cluster\.local is known/);
      assert.equal(
        await charts.sh(namespace, 'rabbitmq-0', 'nc -w 1 rabbitmq-1.rabbitmq-headless 5672 </dev/null; echo $?'),
        '0\n',
      );
      assert.equal(
        await charts.sh(namespace, 'rabbitmq-0', 'ls -A /bitnami/rabbitmq/conf | grep -v "^\\.\\."'),
        'enabled_plugins\nrabbitmq.conf\n',
      );
    });

    test('elasticsearch: a privileged init container, and a node that is not', async () => {
      const namespace = 'elasticsearch';
      await charts.settled(namespace);
      const pod = 'elasticsearch-master-0';
      assert.match(await charts.logs(namespace, pod, 'configure-sysctl'), /privileged/);
      assert.equal(
        await charts.sh(namespace, pod, 'id -u; echo x 2>/dev/null >/proc/sys/vm/max_map_count || echo refused'),
        '1000\nrefused\n',
      );
      assert.equal(
        await charts.sh(namespace, pod, 'cat config/elasticsearch.keystore', '', '/usr/share/elasticsearch'),
        'keystore\n',
      );
      // Names with dots, and no variables of Services.
      const environment = await charts.sh(namespace, pod, 'tr "\\0" "\\n" < /proc/1/environ');
      assert.match(environment, /^node\.name=elasticsearch-master-0$/m);
      assert.ok(!environment.includes('ELASTICSEARCH_MASTER_SERVICE_HOST'));
      assert.ok(environment.includes('KUBERNETES_SERVICE_HOST'));
    });

    test('kafka: configuration made by an init container, projected secrets, three at once', async () => {
      const namespace = 'kafka';
      await charts.settled(namespace);
      const script =
        'stat -L -c %a:%g secrets/password; grep -c . secrets/labels; grep node.id config/server.properties; touch config/x || echo refused';
      const text = await charts.sh(namespace, 'kafka-controller-2', `${script} 2>/dev/null`, '', '/opt/kafka');
      assert.match(text, /^440:1001\n\d+\nnode.id=2\nrefused\n$/);
    });

    test('minio: four claims in one pod, and a job after it', async () => {
      const namespace = 'minio';
      await charts.settled(namespace);
      assert.equal((await charts.list(namespace, 'pvc')).length, 4);
      const script = 'cat /export*/format.json; stat -c %g:%a /export3; cat /export0/buckets/uploads';
      const text = await charts.sh(namespace, 'minio-0', script);
      assert.equal(text, `${'minio-0\n'.repeat(4)}1000:2777\nmade-by-job\n`);
      await charts.deletePod(namespace, 'minio-0');
      await charts.settled(namespace);
      assert.equal(await charts.sh(namespace, 'minio-0', 'cat /export0/buckets/uploads'), 'made-by-job\n');
    });

    test('prometheus: its sidecar writes what it reads, before it starts and when the ConfigMap changes', async () => {
      const namespace = 'prometheus';
      await charts.settled(namespace);
      const read = () =>
        charts.sh(namespace, 'prometheus-k8s-0', 'cat /etc/prometheus/config_out/*; tail -n 2 /etc/hosts');
      assert.match(await read(), /replica: prometheus-k8s-0}[\s\S]*10\.1\.2\.3\tlegacy-target\tlegacy-target.example/);
      assert.match(await charts.logs(namespace, 'prometheus-k8s-0'), /listed \/api\/v1\/nodes/);
      const { initContainerStatuses } = (await charts.pod(namespace, 'prometheus-k8s-0')).status;
      assert.deepEqual(
        initContainerStatuses.map(({ state }: any) => Object.keys(state)[0]),
        ['terminated', 'running'],
      );
      const data = { 'prometheus.yaml': 'global: {scrape_interval: 15s, replica: $(POD_NAME)}\n' };
      await charts.kubectl(namespace, 'patch', 'configmap/prometheus', '-p', JSON.stringify({ data }));
      await charts.until('the new configuration', async () => (await read()).includes('scrape_interval: 15s'));
    });

    test('grafana: permissions and downloads before it, a sidecar that collects from the API', async () => {
      const namespace = 'grafana';
      await charts.settled(namespace);
      const pod = await charts.podOf(namespace, 'app.kubernetes.io/name=grafana');
      assert.equal(
        await charts.sh(namespace, pod, 'cat /var/lib/grafana/dashboards/default/node.json', 'grafana'),
        '{"title": "node"}',
      );
      await charts.until('collected dashboards', async () =>
        (await charts.sh(namespace, pod, 'cat /tmp/dashboards/collected.json 2>/dev/null || true', 'grafana')).includes(
          'extra.json',
        ),
      );
      assert.equal(
        await charts.sh(namespace, pod, 'id -u; stat -c %u:%g /var/lib/grafana', 'grafana'),
        '472\n472:472\n',
      );
      assert.match(await charts.sh(namespace, pod, 'wget -q -O - http://grafana/api/health', 'grafana'), /ok/);
    });

    test('node-exporter: network and processes of the node, whose root is to be read only', async () => {
      const namespace = 'node-exporter';
      await charts.settled(namespace);
      const pod = await charts.podOf(namespace, 'app.kubernetes.io/name=node-exporter');
      const [, host, ours] = /(\d+) processes of the host, ours: (\d+)/.exec(await charts.logs(namespace, pod))!;
      assert.ok(Number(host) > 5 && Number(ours) > 5);
      const { hostIP, podIP, qosClass } = (await charts.pod(namespace, pod)).status;
      assert.equal(podIP, hostIP);
      assert.equal(qosClass, 'Burstable');
      assert.match(
        await charts.cluster.namespace.output(['busybox', 'wget', '-q', '-O', '-', `http://${hostIP}:9100/metrics`]),
        /ok/,
      );
      assert.equal((await charts.pod(namespace, pod)).spec.priority, 2000001000);
    });

    test('fluent-bit: reads what others log', async () => {
      const namespace = 'logging';
      await charts.settled(namespace);
      const pod = await charts.podOf(namespace, 'app.kubernetes.io/name=fluent-bit');
      await charts.until('lines of the shop', async () => /shipped/.test(await charts.logs(namespace, pod)));
      assert.match(await charts.logs(namespace, pod), /^\S+ stdout F order \d+ shipped$/m);
      assert.ok((await charts.sh(namespace, pod, 'touch /var/log/x 2>&1 || true')).includes('Read-only'));
    });

    test('kube-state-metrics: lists what its role allows and nothing else', async () => {
      await charts.settled('ksm');
      const pod = await charts.podOf('ksm', 'app.kubernetes.io/name=kube-state-metrics');
      assert.match(await charts.logs('ksm', pod), /listed \/api\/v1\/pods/);
      assert.match(await charts.sh('ksm', pod, 'cat /etc/resolv.conf'), /options ndots:2 single-request-reopen/);
    });

    test('metrics-server: probed over TLS, reads figures from the kubelet with its own token', async () => {
      await charts.settled('kube-system');
      const pod = await charts.podOf('kube-system', 'k8s-app=metrics-server');
      const [, lines] = /scraped (\d+) containers/.exec(await charts.logs('kube-system', pod))!;
      assert.ok(Number(lines) > 0);
      assert.equal((await charts.pod('kube-system', pod)).spec.priorityClassName, 'system-cluster-critical');
    });

    test('cert-manager: three Deployments that elect leaders, and a job that waits for them', async () => {
      const namespace = 'cert-manager';
      await charts.settled(namespace);
      const leases = (await charts.list(namespace, 'leases')).map(({ metadata }) => metadata.name).sort();
      assert.deepEqual(leases, ['cert-manager-cainjector', 'cert-manager-controller']);
      const pod = await charts.podOf(namespace, 'app=startupapicheck');
      assert.match(await charts.logs(namespace, pod), /API is ready/);
    });

    test('ingress-nginx: waits for the Secret that its job makes, and binds low ports of the node without being root', async () => {
      const namespace = 'ingress-nginx';
      await charts.settled(namespace);
      const pod = await charts.podOf(namespace, 'app.kubernetes.io/component=controller');
      const { hostIP } = (await charts.pod(namespace, pod)).status;
      assert.match(
        await charts.cluster.namespace.output(['busybox', 'wget', '-q', '-O', '-', `http://${hostIP}/`]),
        /ok/,
      );
      assert.equal(await charts.sh(namespace, pod, 'id -u'), '101\n');
      assert.match(await charts.logs(namespace, pod), /lease: 201/);
      const running = (await charts.pod(namespace, pod)).status.containerStatuses[0];
      assert.equal(running.imageID.split('@')[1] ?? running.imageID, charts.ingressDigest);
    });

    test('wordpress: waits for its database, and keeps its files', async () => {
      const namespace = 'wordpress';
      await charts.settled(namespace);
      const pod = await charts.podOf(namespace, 'app.kubernetes.io/name=wordpress');
      assert.match(await charts.logs(namespace, pod, 'wait-for-database'), /the database is there/);
      assert.equal(
        await charts.sh(namespace, 'wordpress-mariadb-0', 'mysql -e "GET siteurl"'),
        'http://blog.example\n',
      );
      assert.match(await charts.sh(namespace, pod, 'cat /etc/hosts', 'wordpress'), /127\.0\.0\.1\tstatus\.localhost/);
      await charts.deletePod(namespace, pod);
      await charts.settled(namespace);
      const next = await charts.podOf(namespace, 'app.kubernetes.io/name=wordpress');
      assert.equal(
        await charts.sh(namespace, next, 'cat /var/www/html/wp-config.php', 'wordpress'),
        `installed by ${pod}\ninstalled by ${next}\n`,
      );
    });

    test('a web app: proxy before it, logs shipped by a sidecar, gRPC health, labels as files', async () => {
      const namespace = 'shop';
      await charts.settled(namespace);
      const pod = await charts.podOf(namespace, 'app=shop');
      await charts.until('shipped logs', async () =>
        /order 1 shipped/.test(await charts.logs(namespace, pod, 'log-shipper')),
      );
      const sh = (script: string, container = 'web') => charts.sh(namespace, pod, script, container);
      assert.equal(
        await sh('hostname; echo $NODE $VERSION $LIMIT_MI $BASE'),
        'shop-frontend\nnode-1 1.4.2 64 http://1.4.2.$(UNKNOWN).$(NODE)\n',
      );
      assert.match(
        await sh('cat /etc/podinfo/labels /etc/podinfo/cpu /app/log/post-start'),
        /^app="shop"\n[\s\S]*10started\n$/,
      );
      assert.match(await sh('cat /etc/resolv.conf'), /search .*corp\.example\n[\s\S]*ndots:2/);
      assert.equal(await sh('[ $(cat /tmp/started) -le $(cat /tmp/waited) ] && echo in order', 'proxy'), 'in order\n');
      const { status } = await charts.pod(namespace, pod);
      assert.ok(status.containerStatuses.every(({ restartCount }: any) => restartCount === 0));
      assert.equal(await charts.sh(namespace, pod, 'wget -q -O - http://shop/healthz', 'web'), 'healthz ok\n');
    });

    test('jobs: tried again, indexed, and gone after their time', async () => {
      const namespace = 'migration';
      await charts.settled(namespace);
      const migrate = await charts.pod(namespace, await charts.podOf(namespace, 'job=migrate'));
      const [main] = migrate.status.containerStatuses;
      assert.equal(main.restartCount, 1);
      assert.equal(main.lastState.terminated.message, 'locked\n');
      assert.equal(main.lastState.terminated.exitCode, 3);
      const parts = await charts.list(namespace, 'pods', '-l', 'job-name=reindex');
      assert.deepEqual(
        parts.map(({ metadata }) => metadata.labels['batch.kubernetes.io/job-completion-index']).sort(),
        ['0', '1', '2'],
      );
      await charts.until(
        'the job that goes away',
        async () => !(await charts.list(namespace, 'jobs')).some(({ metadata }) => metadata.name === 'goes-away'),
      );
    });

    test('a backup CronJob, run by hand', async () => {
      const namespace = 'backup';
      await charts.kubectl(namespace, 'create', 'job', 'now', '--from=cronjob/backup');
      await charts.settled(namespace);
      const pod = await charts.podOf(namespace, 'job-name=now');
      assert.match(await charts.logs(namespace, pod, 'upload'), /hello from the init script\nuploaded/);
    });

    test('vault: memory for secrets, a capability, and not ready until it is unsealed', async () => {
      const namespace = 'vault';
      await charts.until('vault runs', async () => {
        const pod = await charts.pod(namespace, 'vault-0').catch(() => undefined);
        return pod?.status.containerStatuses?.[0].state.running !== undefined;
      });
      const endpoints = async () =>
        (await charts.list(namespace, 'endpointslices', '-l', 'kubernetes.io/service-name=vault')).flatMap(
          (one: any) => one.endpoints ?? [],
        );
      assert.ok(!(await endpoints()).some(({ conditions }: any) => conditions.ready));
      assert.match(await charts.sh(namespace, 'vault-0', 'cat /proc/1/status; ps'), /^CapBnd:\s+0{8}[0-9a-f]*$/m);
      const bounding = /^CapBnd:\s+(\S+)$/m.exec(await charts.sh(namespace, 'vault-0', 'cat /proc/1/status'))![1];
      assert.equal((BigInt(`0x${bounding}`) >> 14n) & 1n, 1n);
      await charts.sh(namespace, 'vault-0', 'vault operator unseal');
      await charts.settled(namespace);
      assert.ok((await endpoints()).some(({ conditions }: any) => conditions.ready));
    });
  });

  test('all of them deleted: nothing is left', async () => {
    const { items } = await charts.cluster.get('pods', '--all-namespaces');
    const uids: string[] = items.map(({ metadata }: any) => metadata.uid);
    assert.ok(uids.length > 30);
    await charts.remove();
    assert.deepEqual((await charts.cluster.get('pods,pv,pvc', '--all-namespaces')).items, []);
    const { dataDirectory } = charts.cluster;
    const left = async (...path: string[]) => readdir(join(dataDirectory, ...path)).catch(() => []);
    await charts.until('empty directories', async () => {
      const found = await Promise.all([left('kubelet/pods'), left('logs/pods'), left('local-path')]);
      return found.flat().length === 0;
    });
    const mounts = await readFile('/proc/self/mounts', 'utf8');
    assert.ok(!mounts.includes(`${dataDirectory}/kubelet/pods/`));
    const groups = await charts.cluster.namespace.output(['find', '/sys/fs/cgroup', '-type', 'd', '-name', '*pod*']);
    assert.ok(!uids.some((uid) => groups.includes(uid) || groups.includes(uid.replaceAll('-', '_'))));
  });
});
