/** An API server in memory (or in a directory) with nothing plugged in, for tests of its generic parts. */
import { type Clock, systemClock } from '../../src/async/index.ts';
import { type ApiServer, type Extensions, startApiServer } from '../../src/controlplane/index.ts';
import { createLogger, type Logger } from '../../src/log/index.ts';
import { createCertificateAuthority, issueCertificate } from '../../src/wire/certificates/index.ts';

/** A running server and how to reach it. */
export interface TestApiServer {
  server: ApiServer;
  url: string;
  /** PEM of the authority that signed the server's certificate. */
  ca: string;
  stop(): Promise<void>;
}

/** Anybody may do everything. */
export function permissiveExtensions(changes: Partial<Extensions> = {}): Extensions {
  return {
    authenticators: [
      { authenticate: async () => ({ username: 'tester', groups: ['system:masters', 'system:authenticated'] }) },
    ],
    authorizer: { authorize: async () => ({ allowed: true, reason: '' }) },
    admission: [],
    rules: {},
    connectors: {},
    bootstrap: async (registry) => {
      if (registry.get('namespaces', '', 'default')) return;
      await registry.create('namespaces', { metadata: { name: 'default' } } as never);
    },
    ...changes,
  };
}

/** Lines go nowhere, or to standard error with DECKHAND_TEST_LOG. */
export function testLogger(): Logger {
  return createLogger('test', (level, component, message, fields) => {
    if (process.env['DECKHAND_TEST_LOG']) console.error(level, component, message, fields);
  });
}

/** Starts a server on a free port of loopback. */
export async function startTestApiServer(
  options: {
    extensions?: Partial<Extensions>;
    dataDir?: string;
    clock?: Clock;
    historyMs?: number;
    port?: number;
  } = {},
): Promise<TestApiServer> {
  const clock = options.clock ?? systemClock;
  const now = systemClock.now();
  const authority = await createCertificateAuthority('test-ca', now);
  const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
  const serving = await issueCertificate(authority, { commonName: 'test', usages: ['server'], ...names }, now);
  const server = startApiServer(
    {
      listen: { host: '127.0.0.1', port: options.port ?? 0 },
      ...(options.dataDir ? { dataDir: options.dataDir } : { memory: true }),
      ...(options.historyMs === undefined ? {} : { historyMs: options.historyMs }),
      tls: { cert: serving.cert, key: serving.key, clientCa: authority.cert },
      extensions: permissiveExtensions(options.extensions),
    },
    { log: testLogger(), clock },
  );
  await server.ready;
  return { server, url: server.url, ca: authority.cert, stop: () => server.stop() };
}
