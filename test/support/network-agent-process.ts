/**
 * Speaks and listens inside the network namespace in which it was started. Reads one JSON request a line, answers one a
 * line: {serve: {protocol, port, name}} and {ask: {protocol, host, port, timeoutMs}}. Servers answer `<name> <caller>`.
 */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

export interface AgentRequest {
  id: number;
  serve?: { protocol: 'tcp' | 'udp'; port: number; name: string };
  ask?: { protocol: 'tcp' | 'udp'; host: string; port: number; timeoutMs: number };
}

const plain = (address: string | undefined): string => (address ?? '').replace(/^::ffff:/, '');
const clients = new Map<string, DatagramSocket>();

function serve({ protocol, port, name }: NonNullable<AgentRequest['serve']>): Promise<string> {
  return new Promise((resolve, reject) => {
    if (protocol === 'tcp') {
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.end(`${name} ${plain(socket.remoteAddress)}`);
      });
      server.on('error', reject).listen(port, '::', () => resolve('serving'));
      return;
    }
    const server = createSocket('udp6');
    server.on('message', (_, from) => server.send(`${name} ${plain(from.address)}`, from.port, from.address));
    server.on('error', reject).bind(port, '::', () => resolve('serving'));
  });
}

function ask({ protocol, host, port, timeoutMs }: NonNullable<AgentRequest['ask']>): Promise<string> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => finish('TIMEOUT'), timeoutMs);
    let close = () => {};
    const finish = (answer: string) => {
      clearTimeout(timer);
      close();
      resolve(answer);
    };
    if (protocol === 'tcp') {
      const socket = connect({ host, port });
      close = () => socket.destroy();
      let text = '';
      socket.on('data', (data) => {
        text += data;
      });
      socket.on('end', () => finish(text)).on('error', (error) => finish((error as { code?: string }).code ?? 'ERROR'));
      return;
    }
    // One client port for each target, as resolvers and media servers have.
    const key = `${host} ${port}`;
    const socket = clients.get(key) ?? createSocket(host.includes(':') ? 'udp6' : 'udp4');
    clients.set(key, socket);
    const onMessage = (data: Buffer) => finish(String(data));
    const onError = () => finish('ERROR');
    socket.on('message', onMessage).on('error', onError);
    close = () =>
      void socket
        .off('message', onMessage)
        .off('error', onError)
        .on('error', () => {});
    socket.send('?', port, host);
  });
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, ...request } = JSON.parse(line) as AgentRequest;
    const work = request.serve ? serve(request.serve) : ask(request.ask!);
    work
      .catch((error: Error) => `ERROR ${error.message}`)
      .then((answer) => process.stdout.write(`${JSON.stringify({ id, answer })}\n`));
  })
  .on('close', () => process.exit(0));
