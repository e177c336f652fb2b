import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { UsageError } from './flags.ts';
import { addressInRange } from './up-options.ts';

/**
 * The address by which a node is known: that of the link with the default route; without one (a network namespace
 * with nothing but a loopback) the node's own bridge, which has the first address of the pods' range.
 */
export function findNodeIp(podCidr: string): string {
  const link = defaultRouteLink();
  const address =
    link && networkInterfaces()[link]?.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  return address ?? addressInRange(podCidr, 1);
}

/**
 * The addresses that --node-ip asks for: one, two of different families, or `0.0.0.0` or `::` for the machine's own of that
 * family. Nothing asked for is the IPv4 address, as {@link findNodeIp} finds it.
 * @throws UsageError naming the address
 */
export function nodeAddresses(text: string): string[] {
  const wanted = text.split(',').map((one) => one.trim());
  if (text === '' || text === '0.0.0.0') return [findNodeIp('10.88.0.0/16')];
  if (text === '::') return [firstAddress('IPv6') ?? findNodeIp('10.88.0.0/16')];
  const families = wanted.map(familyOf);
  wanted.forEach((one, index) => {
    const isWrong = families[index] === undefined || /^(?:0\.0\.0\.0|::|ff|2(?:2[4-9]|3\d)\.)/i.test(one);
    if (isWrong) throw new UsageError(`--node-ip: ${JSON.stringify(one)} is no address that a node can have`);
  });
  if (wanted.length > 2 || (wanted.length === 2 && families[0] === families[1]))
    throw new UsageError(`--node-ip ${text}: at most one address of each family`);
  return wanted;
}

/** Whether a text is an IPv4 (4) or IPv6 (6) address. */
function familyOf(text: string): 4 | 6 | undefined {
  if (/^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(text)) return 4;
  return text.includes(':') && URL.canParse(`http://[${text}]/`) ? 6 : undefined;
}

function firstAddress(wanted: 'IPv4' | 'IPv6'): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find(({ family, internal, address }) => family === wanted && !internal && !address.startsWith('fe80'))
    ?.address;
}

/** The link of the IPv4 default route, from the kernel's route table. */
function defaultRouteLink(): string | undefined {
  if (!existsSync('/proc/net/route')) return undefined;
  for (const line of readFileSync('/proc/net/route', 'utf8').split('\n').slice(1)) {
    const [link, destination, , flags] = line.split('\t');
    if (destination === '00000000' && (Number.parseInt(flags ?? '0', 16) & 1) !== 0) return link;
  }
  return undefined;
}
