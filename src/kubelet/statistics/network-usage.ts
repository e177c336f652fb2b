import { readFileSync } from 'node:fs';

/** What went over one network interface. */
export interface InterfaceUsage {
  name: string;
  rxBytes: number;
  rxPackets: number;
  rxErrors: number;
  rxDropped: number;
  txBytes: number;
  txPackets: number;
  txErrors: number;
  txDropped: number;
}

/** Reads the interfaces that a process sees, but for the loopback; undefined when it has ended. `pid` may be `self`. */
export function readInterfaces(pid: number | 'self'): InterfaceUsage[] | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/net/dev`, 'latin1');
  } catch {
    return undefined;
  }
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const [head = '', rest = ''] = line.split(':');
      const name = head.trim();
      if (name === '' || name === 'lo') return [];
      const [rxBytes, rxPackets, rxErrors, rxDropped, , , , , txBytes, txPackets, txErrors, txDropped] = rest
        .trim()
        .split(/\s+/)
        .map(Number) as [number, number, number, number, 0, 0, 0, 0, number, number, number, number];
      return [{ name, rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped }];
    });
}

/** The interface that stands for all in short reports: `eth0`, or the first. */
export function mainInterface(interfaces: readonly InterfaceUsage[]): InterfaceUsage | undefined {
  return interfaces.find(({ name }) => name === 'eth0') ?? interfaces[0];
}
