import type { Link } from '../../host/netlink/index.ts';

/** One metric of a sandbox's link: its name as cAdvisor has it, what it means, and where its value comes from. */
export interface LinkMetric {
  name: string;
  help: string;
  value: (statistics: Link['statistics']) => bigint;
}

/** Every metric of a link. */
export const linkMetrics: readonly LinkMetric[] = [
  { name: 'container_network_receive_bytes_total', help: 'Bytes received.', value: ({ rxBytes }) => rxBytes },
  { name: 'container_network_receive_packets_total', help: 'Packets received.', value: ({ rxPackets }) => rxPackets },
  {
    name: 'container_network_receive_errors_total',
    help: 'Errors while receiving.',
    value: ({ rxErrors }) => rxErrors,
  },
  {
    name: 'container_network_receive_packets_dropped_total',
    help: 'Packets dropped while receiving.',
    value: ({ rxDropped }) => rxDropped,
  },
  { name: 'container_network_transmit_bytes_total', help: 'Bytes sent.', value: ({ txBytes }) => txBytes },
  { name: 'container_network_transmit_packets_total', help: 'Packets sent.', value: ({ txPackets }) => txPackets },
  { name: 'container_network_transmit_errors_total', help: 'Errors while sending.', value: ({ txErrors }) => txErrors },
  {
    name: 'container_network_transmit_packets_dropped_total',
    help: 'Packets dropped while sending.',
    value: ({ txDropped }) => txDropped,
  },
];
