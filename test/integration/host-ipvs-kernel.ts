/** Runs in a kernel that has IPVS and prints what it found, as JSON: see host-ipvs.test.ts. */
import { execFileSync } from 'node:child_process';
import { type IpvsChange, IpvsSocket, schedulerFlag, type VirtualServer } from '../../src/host/ipvs/index.ts';

const server = (address: string, more: Partial<VirtualServer> = {}): VirtualServer => ({
  address,
  port: 80,
  protocol: 'TCP',
  scheduler: 'rr',
  persistenceSeconds: 0,
  schedulerFlags: 0,
  ...more,
});

const ipvs = IpvsSocket.open();
if (!ipvs) throw new Error('the kernel has no IPVS');
const show = (): string => execFileSync('ipvsadm', ['--save', '--numeric'], { encoding: 'utf8' });
const servers = [
  server('10.96.0.1'),
  server('10.96.0.2', { protocol: 'UDP', port: 53, scheduler: 'sh', persistenceSeconds: 10_800 }),
  server('10.96.0.3', { scheduler: 'mh', schedulerFlags: schedulerFlag.first }),
  server('fd00::1', { port: 443, scheduler: 'wlc', persistenceSeconds: 60 }),
];
const real = (address: string, weight = 1) => ({ address, port: 8080, weight });
const changes: IpvsChange[] = [
  ...servers.map((one): IpvsChange => ({ kind: 'add-server', server: one })),
  { kind: 'add-real', server: servers[0]!, real: real('10.0.0.1') },
  { kind: 'add-real', server: servers[0]!, real: real('10.0.0.2') },
  { kind: 'add-real', server: servers[3]!, real: real('fd00::8') },
  { kind: 'add-server', server: servers[0]! },
  { kind: 'add-server', server: server('10.96.0.9', { scheduler: 'nosuch' }) },
  { kind: 'set-real', server: servers[0]!, real: real('10.0.0.2', 0) },
  { kind: 'set-server', server: { ...servers[0]!, scheduler: 'lc' } },
];
const errors = ipvs.apply(changes).map((error) => error?.message ?? '');
const listed = ipvs.servers();
const reals = ipvs.realServers(servers[0]!);
const shown = show();
ipvs.setTimeouts({ tcp: 7200, tcpFin: 60, udp: 120 });
const timeouts = ipvs.timeouts();
const many = Array.from(
  { length: 2000 },
  (_, at): IpvsChange => ({
    kind: 'add-server',
    server: server(`10.97.${at >> 8}.${at & 255}`),
  }),
);
const manyErrors = ipvs.apply(many).filter(Boolean).length;
const count = ipvs.servers().length;
const removed = ipvs.apply([
  { kind: 'delete-real', server: servers[0]!, real: real('10.0.0.1') },
  ...[...many.map((one) => one.server), ...servers].map((one): IpvsChange => ({ kind: 'delete-server', server: one })),
]);
console.log(
  JSON.stringify({
    info: ipvs.info(),
    ...{ errors, listed, reals, shown, timeouts, manyErrors, count },
    removed: removed.filter(Boolean).length,
    left: show(),
    none: ipvs.realServers(servers[0]!),
  }),
);
ipvs.close();
