/** Stock kubectl against the API server with everything plugged in (no controllers, no kubelet). */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '../../src/async/index.ts';
import { createExtensions } from '../../src/controlplane/index.ts';
import { generateRsaKey } from '../../src/wire/certificates/index.ts';
import { startTestApiServer, type TestApiServer, testLogger } from '../support/apiserver.ts';

const missing = spawnSync('kubectl', ['version', '--client']).error !== undefined && 'kubectl is not installed';
const directory = mkdtempSync(join(tmpdir(), 'deckhand-kubectl-'));
let api: TestApiServer | undefined;

before(async () => {
  const log = testLogger();
  const extensions = createExtensions(
    {
      serviceCidrs: ['10.96.0.0/16'],
      advertise: { address: '127.0.0.1', port: 6443 },
      serviceAccountKey: await generateRsaKey(),
      staticTokens: {
        admin: { username: 'admin', groups: ['system:masters', 'system:authenticated'] },
        bob: { username: 'bob', groups: ['system:authenticated'] },
      },
    },
    { log, clock: systemClock },
  );
  api = await startTestApiServer({ extensions });
  const data = Buffer.from(api.ca).toString('base64');
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server: api.url, 'certificate-authority-data': data } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    users: ['admin', 'bob'].map((name) => ({ name, user: { token: name } })),
  };
  writeFileSync(join(directory, 'kubeconfig'), JSON.stringify(kubeconfig));
});
after(async () => {
  await api?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs kubectl (the words of `line`, split at spaces; `input` on standard input); its output and exit code. */
function kubectl(line: string, input = ''): Promise<{ code: number | null; out: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, KUBECONFIG: join(directory, 'kubeconfig'), HOME: directory, KUBE_EDITOR: 'true' };
    const child = spawn('kubectl', line.split(' '), { env, timeout: 20_000 });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk));
    child.stderr.on('data', (chunk: Buffer) => (out += chunk));
    child.on('close', (code) => resolve({ code, out: out.replace(/^.*WARNING: version difference.*\n?/m, '') }));
    child.stdin.end(input);
  });
}

const manifest = (image: string) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'bare', labels: { app: 'bare' } },
    spec: { automountServiceAccountToken: false, containers: [{ name: 'c', image, env: [{ name: 'A', value: '1' }] }] },
  });

/** Command, what the output must match, standard input; a leading '!' says that the command must fail. */
const story: readonly (readonly [string, RegExp, string?])[] = [
  ['version', /Server Version: v1\.\d+/],
  ['api-resources', /deployments +deploy +apps\/v1 +true +Deployment/],
  ['api-versions', /networking\.k8s\.io\/v1/],
  ['get namespaces', /kube-system +Active/],
  ['create serviceaccount default', /created/],
  ['create token default', /^eyJ/],
  ['create namespace team', /namespace\/team created/],
  ['create secret generic hidden --from-literal=a=b', /created/],
  ['get secret hidden -o jsonpath={.data.a}', /^Yg==$/],
  ['create configmap settings --from-literal=a=b', /created/],
  ['create deployment web --image=example.com/web:1 --replicas=2 --port=80', /created/],
  ['get deployment web -o wide', /web +0\/2 +0 +0 +\S+ +web +example\.com\/web:1 +app=web/],
  ['get deployment web -o jsonpath={.spec.strategy.type}', /^RollingUpdate$/],
  ['scale deployment web --replicas=5', /scaled/],
  ['get deployment web -o jsonpath={.spec.replicas}', /^5$/],
  ['set image deployment/web web=example.com/web:2', /image updated/],
  ['rollout restart deployment/web', /restarted/],
  ['expose deployment web --port=80 --type=NodePort', /exposed/],
  ['get service web', /web +NodePort +10\.96\.\d+\.\d+ +<none> +80:3\d{4}\/TCP/],
  ['autoscale deployment web --max=3 --cpu-percent=70', /autoscaled/],
  ['get hpa', /Deployment\/web +cpu: <unknown>\/70%/],
  ['apply -f -', /pod\/bare created/, manifest('example.com/a:1')],
  ['apply -f -', /pod\/bare unchanged/, manifest('example.com/a:1')],
  ['apply -f -', /pod\/bare configured/, manifest('example.com/a:2')],
  ['diff -f -', /^$/, manifest('example.com/a:2')],
  ['!diff -f -', /\+ +image: example\.com\/a:3|\+ +- image: example\.com\/a:3/, manifest('example.com/a:3')],
  ['get pod bare -o wide', /bare +0\/1 +Pending +0 +\S+ +<none> +<none>/],
  ['get pods -l app=bare --field-selector=status.phase=Pending -o name', /^pod\/bare$/m],
  ['label pod bare tier=front', /labeled/],
  ['annotate pod bare note=x', /annotated/],
  ['patch pod bare -p {"metadata":{"labels":{"more":"1"}}}', /patched/],
  ['patch pod bare --type=json -p [{"op":"remove","path":"/metadata/labels/more"}]', /patched/],
  ['get pod bare --show-labels', /app=bare,tier=front/],
  ['edit pod bare', /no changes made/],
  ['explain pod.spec.containers.image', /FIELD: image <string>/],
  ['auth can-i delete nodes', /^yes/m],
  ['!auth can-i delete nodes --as=bob', /^no/m],
  ['auth whoami', /Username +admin/],
  [
    '!--user bob get pods',
    /pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"/,
  ],
  ['create role reader --verb=get,list --resource=pods', /created/],
  ['create rolebinding reading --role=reader --user=bob', /created/],
  ['--user bob get pods -o name', /pod\/bare/],
  ['create quota few --hard=pods=10', /created/],
  ['create job once --image=example.com/a:1', /created/],
  ['create ingress way --rule=example.com/=web:80', /created/],
  ['get all -o wide', /deployment\.apps\/web/],
  ['describe pod bare', /Status: +Pending/],
  ['describe service web', /NodePort:/],
  [
    '!create -f -',
    /strict decoding error: unknown field "spec\.containers\[0\]\.imag"/,
    manifest('x').replace('"image"', '"imag"'),
  ],
  [
    '!create -f - --validate=false',
    /cannot unmarshal number into Go struct field Container\.spec\.containers\.image of type string/,
    manifest('x').replace('"x"', '5'),
  ],
  [
    '!create -f - --validate=false',
    /metadata\.name: Invalid value: "Bad_Name"/,
    manifest('x').replace('"bare"', '"Bad_Name"'),
  ],
  ['!get pod nothing', /Error from server \(NotFound\): pods "nothing" not found/],
  ['!create namespace team', /Error from server \(AlreadyExists\): namespaces "team" already exists/],
  [
    'apply --server-side -f -',
    /serverside-applied/,
    '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"a":"1"}}',
  ],
  [
    '!apply --server-side --field-manager=other -f -',
    /Apply failed with 1 conflict/,
    '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"a":"2"}}',
  ],
  ['wait --for=jsonpath={.status.phase}=Pending pod/bare --timeout=5s', /condition met/],
  ['delete pod bare', /pod "bare" deleted/],
  ['delete deployment,service,hpa web', /deployment\.apps "web" deleted/],
  ['delete configmap --all', /"settings" deleted/],
  ['get --raw /livez', /^ok$/],
];

describe('kubectl', { skip: missing }, () => {
  for (const [line, expected, input] of story) {
    it(line, async () => {
      const fails = line.startsWith('!');
      const { code, out } = await kubectl(fails ? line.slice(1) : line, input);
      assert.match(out, expected);
      assert.equal(code !== 0, fails, out);
    });
  }
});
