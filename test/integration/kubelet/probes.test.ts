/** Probes: every kind and option, what they do to containers, and that nothing of ours makes one fail. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Pod } from '../../../src/api/index.ts';
import { pollUntil, systemClock } from '../../../src/async/index.ts';
import { createCertificateAuthority, issueCertificate } from '../../../src/wire/certificates/index.ts';
import { createHttpServer, type HttpServer, type IncomingMessage } from '../../../src/wire/http/index.ts';
import { Cluster } from '../../support/cluster.ts';
import { DemoRegistry } from '../../support/demo-registry.ts';
import { HealthServer } from '../../support/health-server.ts';
import { conditionOf, containerOf, isReady, PodDriver } from '../../support/pod-driver.ts';

describe('probes', () => {
  let cluster: Cluster;
  let registry: DemoRegistry;
  let pods: PodDriver;
  let web: HttpServer;
  let secure: HttpServer;
  let health: HealthServer;
  let ports: { web: number; secure: number };
  /** What was asked, by path. */
  const asked = new Map<string, IncomingMessage['headers'][]>();
  /** Paths that answer with another status than 200. */
  const statuses = new Map<string, number>();

  before(async () => {
    cluster = await Cluster.start('kprobes', ['--place', 'kubelet=process']);
    registry = await DemoRegistry.start(cluster.namespace);
    pods = await PodDriver.start(cluster, registry.image('v1'));
    // In the network of the node: what probes are told to ask by `host`.
    web = createHttpServer({
      handler: (request, response) => {
        const path = request.url ?? '';
        asked.set(path, [...(asked.get(path) ?? []), request.headers]);
        if (path === '/here') return void response.writeHead(302, { location: '/landed' }).end();
        if (path === '/away') return void response.writeHead(302, { location: 'http://192.0.2.1/' }).end('elsewhere');
        if (path === '/endless') {
          const timer = setInterval(() => response.write('x'.repeat(5000)), 5);
          response.on('close', () => clearInterval(timer));
          return;
        }
        if (path === '/silent') return;
        response.writeHead(statuses.get(path) ?? 200).end('fine');
      },
    });
    const authority = await createCertificateAuthority('nobody-knows', systemClock.now());
    const names = { commonName: 'elsewhere', usages: ['server' as const] };
    const tls = await issueCertificate(authority, names, systemClock.now());
    secure = createHttpServer({ tls, handler: (_request, response) => void response.end('secret') });
    health = await HealthServer.start();
    ports = {
      web: (await web.listen({ host: '127.0.0.1', port: 0 })).port,
      secure: (await secure.listen({ host: '127.0.0.1', port: 0 })).port,
    };
  });
  after(async () => {
    await pods?.stop();
    health?.stop();
    await web?.close();
    await secure?.close();
    await registry?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const get = (path: string, more: object = {}) => ({ host: '127.0.0.1', port: ports.web, path, ...more });
  /** A pod whose one container has these fields. */
  const probed = (name: string, container: object, spec: object = {}) =>
    pods.create(name, { containers: [pods.container(container)], ...spec });
  const restarts = (name: string) => containerOf(pods.get(name))?.restartCount ?? 0;
  const lastAsked = (path: string) => asked.get(path)?.at(-1);

  describe('kinds and options', { concurrency: 8 }, () => {
    test('an HTTP probe sends its headers, a Host of its own, its query, and says who it is', async () => {
      const httpHeaders = [
        { name: 'Host', value: 'shop.example' },
        { name: 'X-Twice', value: 'a' },
        { name: 'X-Twice', value: 'b' },
      ];
      await probed('headers', { readinessProbe: { httpGet: get('/headers?deep=1', { httpHeaders }) } });
      await pods.untilReady('headers');
      const headers = lastAsked('/headers?deep=1')!;
      assert.equal(headers.host, 'shop.example');
      assert.equal(headers['x-twice'], 'a, b');
      assert.equal(headers['user-agent'], 'kube-probe/1.36');
      assert.equal(headers.accept, '*/*');
      await probed('named', {
        ports: [{ name: 'http', containerPort: ports.web }],
        readinessProbe: {
          httpGet: get('/named', { port: 'http', httpHeaders: [{ name: 'User-Agent', value: 'mine' }] }),
        },
      });
      await pods.untilReady('named');
      assert.equal(lastAsked('/named')!['user-agent'], 'mine');
    });

    test('an HTTPS probe takes any certificate', async () => {
      await probed('https', { readinessProbe: { httpGet: get('/', { port: ports.secure, scheme: 'HTTPS' }) } });
      await pods.untilReady('https');
    });

    test('redirects are followed on the same host only; one to another host is well, with a warning', async () => {
      await probed('redirect-here', { readinessProbe: { httpGet: get('/here') } });
      await pods.untilReady('redirect-here');
      assert.ok(lastAsked('/landed'));
      await probed('redirect-away', { readinessProbe: { httpGet: get('/away') } });
      await pods.untilReady('redirect-away');
      const { message } = await pods.untilEvent('redirect-away', 'ProbeWarning');
      assert.equal(message, 'Readiness probe warning: Probe terminated redirects, Response body: elsewhere');
    });

    test('a body without end is read up to 10 KiB; no answer in time is a failure', async () => {
      await probed('endless', { readinessProbe: { httpGet: get('/endless') } });
      await pods.untilReady('endless');
      await probed('silent', { readinessProbe: { httpGet: get('/silent'), timeoutSeconds: 1, periodSeconds: 2 } });
      await pods.untilEvent('silent', 'Unhealthy', /^Readiness probe failed: Get "http:.*context deadline exceeded/);
      assert.ok(!isReady(pods.get('silent')));
    });

    test('TCP: a port that listens is well, a refused connection is a failure', async () => {
      await probed('tcp', { readinessProbe: { tcpSocket: { host: '127.0.0.1', port: ports.web } } });
      await pods.untilReady('tcp');
      await probed('tcp-refused', { readinessProbe: { tcpSocket: { host: '127.0.0.1', port: 1 }, periodSeconds: 1 } });
      await pods.untilEvent(
        'tcp-refused',
        'Unhealthy',
        /^Readiness probe failed: dial tcp 127\.0\.0\.1:1: connect: connection refused$/,
      );
    });

    test('gRPC: asks for the service that is named, and goes by what it says', async () => {
      health.statuses.set('shop', 2);
      const spec = { hostNetwork: true };
      await probed('grpc', { readinessProbe: { grpc: { port: health.port } } }, spec);
      await probed(
        'grpc-shop',
        { readinessProbe: { grpc: { port: health.port, service: 'shop' }, periodSeconds: 1 } },
        spec,
      );
      await pods.untilReady('grpc');
      await pods.untilEvent(
        'grpc-shop',
        'Unhealthy',
        /^Readiness probe failed: service unhealthy \(responded with "NOT_SERVING"\)$/,
      );
      health.statuses.set('shop', 1);
      await pods.untilReady('grpc-shop');
      assert.ok(
        [...health.userAgents].every((agent) => agent.startsWith('kube-probe/1.36')),
        [...health.userAgents].join(),
      );
    });

    test('exec: its exit code counts, its output is told, and it is ended when its time is over', async () => {
      await probed('exec', { readinessProbe: { exec: { command: ['true'] } } });
      await pods.untilReady('exec');
      const command = ['sh', '-c', 'echo not yet; exit 3'];
      await probed('exec-fails', { readinessProbe: { exec: { command }, periodSeconds: 1 } });
      await pods.untilEvent('exec-fails', 'Unhealthy', /^Readiness probe failed: not yet\n?$/);
      await probed('exec-slow', {
        readinessProbe: { exec: { command: ['sh', '-c', 'echo $$ >> /tmp/pids; exec sleep 1000'] }, periodSeconds: 2 },
      });
      await pods.untilEvent(
        'exec-slow',
        'Unhealthy',
        /^Readiness probe failed: command timed out: .* timed out after 1s$/,
      );
      const left = await pods.exec('exec-slow', ['sh', '-c', 'sleep 1.5; ps | grep -c "sleep 100[0]" || true']);
      assert.ok(Number(left) <= 1, `${left} commands are left`);
    });

    test('a probe that cannot be made says so, and restarts nothing', async () => {
      await probed('no-port', {
        livenessProbe: { httpGet: { path: '/', port: 'nowhere' }, periodSeconds: 1, failureThreshold: 1 },
      });
      const { message } = await pods.untilEvent('no-port', 'Unhealthy');
      assert.match(message, /^Liveness probe errored and resulted in unknown state: couldn't find port: "nowhere"/);
      assert.equal(restarts('no-port'), 0);
    });

    test('a startup probe holds back the others, and its success brings readiness at once', async () => {
      const readinessProbe = { httpGet: get('/after-startup'), periodSeconds: 60 };
      await probed('startup', {
        startupProbe: { exec: { command: ['test', '-e', '/started'] }, periodSeconds: 1, failureThreshold: 60 },
        readinessProbe,
        livenessProbe: { exec: { command: ['test', '-e', '/started'] }, periodSeconds: 1, failureThreshold: 1 },
      });
      const waiting = await pods.until('runs', 'startup', (pod) => containerOf(pod)?.state?.running);
      assert.equal(containerOf(waiting)?.started, false);
      await pods.exec('startup', ['sleep', '2']);
      assert.equal(asked.get('/after-startup'), undefined);
      assert.equal(restarts('startup'), 0, 'the liveness probe waits too');
      await pods.exec('startup', ['touch', '/started']);
      const ready = await pods.untilReady('startup');
      assert.equal(containerOf(ready)?.started, true);
    });

    test('a startup probe that fails so often as it may has the container restarted', async () => {
      await probed('no-startup', {
        startupProbe: { exec: { command: ['sh', '-c', 'exit 1'] }, periodSeconds: 1, failureThreshold: 2 },
      });
      await pods.until('restarted', 'no-startup', (pod) => (containerOf(pod)?.restartCount ?? 0) > 0);
      await pods.untilEvent('no-startup', 'Killing', /failed startup probe, will be restarted/);
    });

    test('thresholds: unready after three failures in a row, ready again after two successes', async () => {
      statuses.set('/threshold', 503);
      const readinessProbe = { httpGet: get('/threshold'), periodSeconds: 1, failureThreshold: 3, successThreshold: 2 };
      await probed('threshold', { readinessProbe });
      await pods.untilEvent('threshold', 'Unhealthy', /statuscode: 503/);
      statuses.delete('/threshold');
      const since = asked.get('/threshold')!.length;
      await pods.untilReady('threshold');
      assert.ok(asked.get('/threshold')!.length - since >= 2);
      statuses.set('/threshold', 500);
      const before = asked.get('/threshold')!.length;
      await pods.until('unready', 'threshold', (pod) => !isReady(pod));
      assert.ok(asked.get('/threshold')!.length - before >= 3);
      assert.equal(restarts('threshold'), 0);
    });

    test('a failed liveness probe restarts, within the grace period of the probe', async () => {
      statuses.set('/alive', 500);
      await probed(
        'liveness',
        {
          script: 'trap "" TERM; sleep 3600 & wait; sleep 3600',
          livenessProbe: {
            httpGet: get('/alive'),
            periodSeconds: 1,
            failureThreshold: 1,
            terminationGracePeriodSeconds: 1,
          },
        },
        { terminationGracePeriodSeconds: 120 },
      );
      await pods.until('restarted', 'liveness', (pod) => (containerOf(pod)?.restartCount ?? 0) > 0, 20_000);
      statuses.delete('/alive');
      await pods.untilEvent('liveness', 'Killing', /^Container main failed liveness probe, will be restarted$/);
      await pods.delete('liveness', 0);
    });

    test('while a pod ends, readiness is still looked at, liveness is not', async () => {
      const script = 'trap "" TERM; sleep 3600 & wait; sleep 3600';
      const livenessProbe = { httpGet: get('/live-while-ending'), periodSeconds: 1, failureThreshold: 1 };
      const readinessProbe = { httpGet: get('/ready-while-ending'), periodSeconds: 1, failureThreshold: 1 };
      await probed('ending', { script, livenessProbe, readinessProbe }, { terminationGracePeriodSeconds: 60 });
      await pods.untilReady('ending');
      await pods.delete('ending');
      await pods.until('ends', 'ending', (pod) => pod.metadata.deletionTimestamp);
      statuses.set('/live-while-ending', 500);
      statuses.set('/ready-while-ending', 500);
      const unready = await pods.until('unready', 'ending', (pod) => conditionOf(pod, 'Ready')?.status === 'False');
      assert.ok(unready.metadata.deletionTimestamp);
      assert.equal(restarts('ending'), 0);
      assert.ok(!pods.events('ending').some(({ message }) => /liveness/i.test(message)));
      await pods.delete('ending', 1);
    });

    test('metrics tell how probes ended, how long they took and how late they began', async () => {
      await probed('counted', { readinessProbe: { httpGet: get('/counted'), periodSeconds: 1 } });
      await pods.untilReady('counted');
      const read = () => cluster.kubectl(['get', '--raw', '/api/v1/nodes/node-1/proxy/metrics/probes']);
      await pollUntil(
        'a count',
        async () =>
          /prober_probe_total\{container="main",namespace="default",pod="counted",pod_uid="[^"]+",probe_type="Readiness",result="successful"\} [1-9]/.test(
            await read(),
          ),
        { timeoutMs: 30_000 },
      );
      const text = await read();
      assert.match(
        text,
        /prober_probe_duration_seconds_count\{container="main",namespace="default",pod="counted",probe_type="Readiness"\} /,
      );
      assert.match(text, /deckhand_prober_lateness_seconds_bucket\{le="0\.3"\}/);
      await pods.remove('counted');
      await pollUntil('no series of a pod that is gone', async () => !(await read()).includes('pod="counted"'), {
        timeoutMs: 30_000,
      });
    });
  });

  // By itself: it ends streams of the others.
  test('a new kubelet knows what the old one had found: nobody becomes unready', async () => {
    statuses.set('/kept', 200);
    const readinessProbe = { httpGet: get('/kept'), periodSeconds: 2 };
    const startupProbe = { httpGet: get('/kept'), periodSeconds: 2 };
    await probed('kept', { readinessProbe, startupProbe });
    await pods.untilReady('kept');
    const versions = pods.history.get('kept')!.length;
    process.kill(await cluster.pidOf('kubelet'), 'SIGKILL');
    const count = asked.get('/kept')!.length;
    await pollUntil('probed by the new kubelet', () => asked.get('/kept')!.length > count, { timeoutMs: 30_000 });
    const since = pods.history.get('kept')!.slice(versions - 1) as Pod[];
    assert.ok(
      since.every((pod) => isReady(pod) && containerOf(pod)?.started),
      'never unready, never not started',
    );
    assert.equal(restarts('kept'), 0);
  });
});
