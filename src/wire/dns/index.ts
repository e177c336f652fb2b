export {
  askDns,
  type DnsHandler,
  type DnsListener,
  type DnsPeer,
  DnsTransportError,
  serveDns,
} from './dns-transport.ts';
