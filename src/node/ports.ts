import { existsSync } from 'node:fs';
import { createHttpServer, ListenError } from '../wire/http/index.ts';
import { instancePaths } from './instance.ts';
import type { UpOptions } from './up-options.ts';

/** Ports of the components' defaults that cannot be shared with another node of the same network namespace. */
const kubeletPorts = [
  { use: "the kubelet's API", host: '0.0.0.0', port: 10_250 },
  { use: "the kubelet's health", host: '127.0.0.1', port: 10_248 },
];
const proxyPorts = [
  { use: "the proxy's health", host: '0.0.0.0', port: 10_256 },
  { use: "the proxy's metrics", host: '127.0.0.1', port: 10_249 },
];

/** A proxy that runs as a pod may have stayed from the last start. */
function fixedPorts({ proxy, dataDirectory }: UpOptions) {
  const inPod = proxy === 'daemonset' || proxy === 'none' || existsSync(instancePaths(dataDirectory).proxyImage);
  return inPod ? kubeletPorts : [...kubeletPorts, ...proxyPorts];
}

/**
 * Checks that the ports that an instance needs are free, before it touches anything: its failed start would otherwise
 * take away the rules and links of a node that runs already.
 * @throws Error with one sentence that names the port and what to do
 */
export async function checkPorts(options: UpOptions): Promise<void> {
  const { host, port } = options.listen;
  await tryPort(host, port, (error) =>
    error.code === 'EADDRINUSE'
      ? `port ${port} is already in use: stop what listens there, or choose another with --listen ADDR:PORT`
      : `--listen ${host}:${port}: ${error.message}`,
  );
  for (const one of fixedPorts(options)) {
    await tryPort(one.host, one.port, ({ message, code }) =>
      code === 'EADDRINUSE'
        ? `port ${one.port}, which is for ${one.use}, is already in use: stop the node that runs here, or start this one in a network namespace of its own`
        : message,
    );
  }
}

async function tryPort(host: string, port: number, describe: (error: ListenError) => string): Promise<void> {
  const server = createHttpServer({ handler: (_request, response) => void response.writeHead(503).end() });
  try {
    await server.listen({ host, port });
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    throw new Error(describe(error));
  }
  await server.close();
}
