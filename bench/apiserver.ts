/**
 * Measures the API server alone, over HTTPS from a process of its own: creates, gets, patches, lists, watches.
 * The server keeps its store in an SQLite file. Prints figures as JSON.
 *
 * Usage: node bench/apiserver.ts [--objects 4000] [--clients 32] [--watchers 100] [--events 300]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startTestApiServer } from '../test/support/apiserver.ts';

interface Target {
  url: string;
  ca: string;
  agent: Agent;
}

/** The figures of one run. */
export interface ApiServerFigures {
  readyMs: number;
  rssReadyMb: number;
  createSerialP50Ms: number;
  createPerSecond: number;
  createP50Ms: number;
  createP99Ms: number;
  getPerSecond: number;
  patchPerSecond: number;
  listMs: number;
  listMb: number;
  deliveriesPerSecond: number;
  rssEndMb: number;
}

const { values } = parseArgs({
  options: {
    objects: { type: 'string', default: '4000' },
    clients: { type: 'string', default: '32' },
    watchers: { type: 'string', default: '100' },
    events: { type: 'string', default: '300' },
    serve: { type: 'string' },
  },
});

function send(target: Target, method: string, path: string, body?: string, type = 'application/json'): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) };
    const request = httpsRequest(
      target.url + path,
      { method, headers, agent: target.agent, ca: target.ca },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => {
          const answer = Buffer.concat(chunks);
          if (response.statusCode! < 300) resolve(answer);
          else reject(new Error(`${method} ${path}: ${response.statusCode} ${answer.toString().slice(0, 300)}`));
        });
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** Runs `count` calls with so many at once; the times in milliseconds, sorted. */
async function load(count: number, clients: number, call: (index: number) => Promise<unknown>) {
  const times: number[] = [];
  let next = 0;
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (next < count) {
        const index = next++;
        const at = performance.now();
        await call(index);
        times.push(performance.now() - at);
      }
    }),
  );
  const seconds = (performance.now() - begun) / 1000;
  times.sort((a, b) => a - b);
  return { perSecond: count / seconds, p50: times[Math.floor(count * 0.5)]!, p99: times[Math.floor(count * 0.99)]! };
}

const configMaps = '/api/v1/namespaces/default/configmaps';
const filler = 'x'.repeat(800);
const configMap = (name: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, labels: { app: 'bench' } },
    data: { filler },
  });

async function measureWatch(target: Target, watchers: number, events: number): Promise<number> {
  const wanted = watchers * events;
  let got = 0;
  let finish: () => void;
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const now = JSON.parse((await send(target, 'GET', `${configMaps}?limit=1`)).toString()).metadata.resourceVersion;
  const requests = await Promise.all(
    Array.from(
      { length: watchers },
      () =>
        new Promise<{ destroy(): void }>((resolve, reject) => {
          const path = `${configMaps}?watch=1&resourceVersion=${now}`;
          const request = httpsRequest(target.url + path, { agent, ca: target.ca }, (response) => {
            response.on('data', (chunk: Buffer) => {
              for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) got++;
              if (got >= wanted) finish();
            });
            resolve(request);
          });
          request.on('error', reject);
          request.end();
        }),
    ),
  );
  const begun = performance.now();
  await load(events, 8, (index) => send(target, 'POST', configMaps, configMap(`watched-${index}`)));
  await done;
  const seconds = (performance.now() - begun) / 1000;
  for (const request of requests) request.destroy();
  agent.destroy();
  return wanted / seconds;
}

async function measure(target: Target, child: ChildProcess, readyMs: number): Promise<ApiServerFigures> {
  const objects = Number(values.objects);
  const clients = Number(values.clients);
  const rssMb = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]) / 1024;
  const rssReadyMb = rssMb();
  const serial = await load(200, 1, (index) => send(target, 'POST', configMaps, configMap(`serial-${index}`)));
  const create = await load(objects, clients, (index) => send(target, 'POST', configMaps, configMap(`c-${index}`)));
  const get = await load(objects, clients, (index) => send(target, 'GET', `${configMaps}/c-${index}`));
  const patch = await load(Math.min(objects, 3000), clients, (index) =>
    send(target, 'PATCH', `${configMaps}/c-${index}`, `{"data":{"n":"${index}"}}`, 'application/merge-patch+json'),
  );
  const listBegun = performance.now();
  const list = await send(target, 'GET', configMaps);
  const listMs = performance.now() - listBegun;
  const deliveries = await measureWatch(target, Number(values.watchers), Number(values.events));
  const round = (value: number, digits = 0) => Number(value.toFixed(digits));
  return {
    readyMs: round(readyMs),
    rssReadyMb: round(rssReadyMb),
    createSerialP50Ms: round(serial.p50, 2),
    createPerSecond: round(create.perSecond),
    createP50Ms: round(create.p50, 1),
    createP99Ms: round(create.p99, 1),
    getPerSecond: round(get.perSecond),
    patchPerSecond: round(patch.perSecond),
    listMs: round(listMs),
    listMb: round(list.length / 1048576, 1),
    deliveriesPerSecond: round(deliveries),
    rssEndMb: round(rssMb()),
  };
}

/** Starts a server in a process of its own, loads it, and ends it. */
export async function benchApiServer(): Promise<ApiServerFigures> {
  const dataDir = mkdtempSync(join(tmpdir(), 'deckhand-bench-'));
  const begun = performance.now();
  const child = spawn(process.execPath, [import.meta.filename, '--serve', dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const line = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout!.on('data', (chunk: Buffer) => {
        text += chunk;
        if (text.endsWith('\n')) resolve(text);
      });
      child.on('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    });
    const readyMs = performance.now() - begun;
    const { url, ca } = JSON.parse(line);
    const agent = new Agent({ keepAlive: true, maxSockets: Number(values.clients) });
    const figures = await measure({ url, ca, agent }, child, readyMs);
    agent.destroy();
    return figures;
  } finally {
    child.kill();
    await new Promise((resolve) => child.once('exit', resolve));
    rmSync(dataDir, { recursive: true, force: true });
  }
}

if (values.serve) {
  const { url, ca } = await startTestApiServer({ dataDir: values.serve });
  process.stdout.write(`${JSON.stringify({ url, ca })}\n`);
} else if (import.meta.main) {
  const figures = await benchApiServer();
  const tell = (what: string, result: string, target = '') => console.log(JSON.stringify({ what, result, target }));
  tell('API server alone: process start → ready (with certificates)', `${figures.readyMs} ms`, '≤ 300 ms');
  tell('API: one create at a time', `p50 ${figures.createSerialP50Ms} ms`, 'p50 ≤ 2.5 ms');
  tell(
    `API: creates of 1 KB objects, ${values.clients} clients`,
    `${figures.createPerSecond}/s, p50 ${figures.createP50Ms} ms, p99 ${figures.createP99Ms} ms`,
    '≥ 1,500/s, p99 ≤ 60 ms',
  );
  tell(`API: gets, ${values.clients} clients`, `${figures.getPerSecond}/s`);
  tell(`API: merge patches, ${values.clients} clients`, `${figures.patchPerSecond}/s`);
  tell(`API: list of ${values.objects} objects (${figures.listMb} MB)`, `${figures.listMs} ms`);
  tell(
    `API: ${values.watchers} watchers × ${values.events} events`,
    `${figures.deliveriesPerSecond} deliveries/s`,
    '≥ 40,000/s',
  );
  tell('API server alone: resident memory, ready → after the load', `${figures.rssReadyMb} → ${figures.rssEndMb} MB`);
}
