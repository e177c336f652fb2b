export { parseResolvConf, type Upstream } from './forwarder.ts';
export { type Dns, type DnsConfig, startDns } from './start-dns.ts';
