/**
 * Calls addresses, many at once, from the network namespace it runs in. Questions are lines of JSON on standard input:
 * {"id": 1, "protocol": "TCP", "address": "10.96.0.1", "port": 80, "waitMs": 1000}. Answers:
 * {"id": 1, "end": "answered", "said": "p1 10.244.0.10"}, {"id": 1, "end": "refused"} or {"id": 1, "end": "silence"}.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/async/index.ts';

interface Question {
  id: number;
  protocol: 'TCP' | 'UDP';
  address: string;
  port: number;
  waitMs: number;
}
type Answer = { end: 'answered'; said: string } | { end: 'refused' | 'silence'; error?: string };

/** A datagram that a small server lost is sent again, in the same flow. */
const resendMs = 250;

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line) as Question;
  const ask = question.protocol === 'UDP' ? askUdp : askTcp;
  void ask(question).then((answer) => process.stdout.write(`${JSON.stringify({ id: question.id, ...answer })}\n`));
}

function askTcp({ address, port, waitMs }: Question): Promise<Answer> {
  return new Promise((resolve) => {
    let said = '';
    const socket = connect({ host: address, port });
    const timer = systemClock.after(waitMs, () => end({ end: 'silence' }));
    const end = (answer: Answer) => {
      timer.cancel();
      socket.destroy();
      resolve(answer);
    };
    socket.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('\n')) end({ end: 'answered', said: said.trim() });
    });
    socket.on('error', (error: NodeJS.ErrnoException) => end(refusedOr(error)));
    socket.on('close', () => end(said ? { end: 'answered', said: said.trim() } : { end: 'silence', error: 'closed' }));
  });
}

function askUdp({ address, port, waitMs }: Question): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const timer = systemClock.after(waitMs, () => end({ end: 'silence' }));
    let again = timer;
    let over = false;
    const end = (answer: Answer) => {
      if (over) return;
      over = true;
      timer.cancel();
      again.cancel();
      socket.close();
      resolve(answer);
    };
    const send = () => {
      if (over) return;
      socket.send('hello\n', () => {});
      again = systemClock.after(resendMs, send);
    };
    socket.on('message', (text) => end({ end: 'answered', said: text.toString().trim() }));
    socket.on('error', (error: NodeJS.ErrnoException) => end(refusedOr(error)));
    socket.connect(port, address, send);
  });
}

function refusedOr(error: NodeJS.ErrnoException): Answer {
  if (error.code === 'ECONNREFUSED') return { end: 'refused' };
  return { end: 'silence', error: error.code ?? error.message };
}
