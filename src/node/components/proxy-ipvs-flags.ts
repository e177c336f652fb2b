import type { ProxySettings } from '../../proxy/index.ts';
import { UsageError } from '../flags.ts';

/** The options of the mode ipvs, named as upstream's. */
export const ipvsFlags = {
  'ipvs-scheduler': {
    type: 'string',
    value: 'NAME',
    default: 'rr',
    help: 'mode ipvs: how to choose an endpoint (rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh)',
  },
  'ipvs-strict-arp': { type: 'boolean', help: 'mode ipvs: answer ARP only on the link that carries the address' },
  'ipvs-sync-period': {
    type: 'string',
    value: 'DURATION',
    help: 'mode ipvs: how often the kernel is compared with the plan (default 30s)',
  },
  'ipvs-min-sync-period': { type: 'string', value: 'DURATION', help: 'mode ipvs: least pause between two writes' },
  'ipvs-exclude-cidrs': {
    type: 'string',
    value: 'CIDR,…',
    multiple: true,
    help: "mode ipvs: virtual servers within are somebody else's",
  },
  'ipvs-tcp-timeout': { type: 'string', value: 'DURATION', help: 'mode ipvs: how long idle TCP connections are kept' },
  'ipvs-tcpfin-timeout': { type: 'string', value: 'DURATION', help: 'mode ipvs: the same after a FIN' },
  'ipvs-udp-timeout': { type: 'string', value: 'DURATION', help: 'mode ipvs: how long idle UDP flows are kept' },
} as const;

/** The section of a configuration file that says the same as the options; its own checks then apply. */
export function ipvsSection(values: Record<string, unknown>): Record<string, unknown> {
  const cidrs = ((values['ipvs-exclude-cidrs'] as string[] | undefined) ?? []).flatMap((one) => one.split(','));
  const section = {
    scheduler: values['ipvs-scheduler'],
    strictARP: values['ipvs-strict-arp'],
    syncPeriod: values['ipvs-sync-period'],
    minSyncPeriod: values['ipvs-min-sync-period'],
    excludeCIDRs: cidrs.map((one) => one.trim()).filter(Boolean),
    tcpTimeout: values['ipvs-tcp-timeout'],
    tcpFinTimeout: values['ipvs-tcpfin-timeout'],
    udpTimeout: values['ipvs-udp-timeout'],
  };
  return Object.fromEntries(Object.entries(section).filter(([, value]) => value !== undefined));
}

/** What the options of the mode ipvs set. @throws UsageError naming the field and what is wrong with it */
export function readIpvsFlags(
  values: Record<string, unknown>,
  parse: (text: string) => { settings: ProxySettings },
): Pick<ProxySettings, 'ipvs' | 'syncPeriodMs' | 'minSyncPeriodMs'> {
  const document = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'ipvs',
    ipvs: ipvsSection(values),
  };
  try {
    const { ipvs, syncPeriodMs, minSyncPeriodMs } = parse(JSON.stringify(document)).settings;
    return { ipvs, syncPeriodMs, minSyncPeriodMs };
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/^proxy configuration: /, 'options of the mode ipvs: '));
  }
}
