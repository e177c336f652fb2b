import { percent, splitEndpoint } from '../../proxy/index.ts';
import type { Explained } from './explained.ts';

const kinds = {
  'cluster-ip': 'cluster IP',
  'external-ip': 'external IP',
  'load-balancer': 'load balancer address',
  'node-port': 'node port',
} as const;

/** An explanation as text for people. */
export function printExplanation(explained: Explained): string {
  const { packet, service, mode, path, kernel, reason, notes } = explained;
  const by = packet.inputInterface === '' ? 'from the node itself' : `by link ${packet.inputInterface}`;
  const from =
    packet.source === '' || explained.from.name === packet.source
      ? explained.from.name
      : `${packet.source} (${explained.from.name})`;
  const lines = [
    `packet    ${packet.protocol} ${from} to ${packet.destination} port ${packet.destinationPort}, ${by}; mode ${mode}`,
    ...(service ? [`service   ${describeService(explained)}`] : []),
    `result    ${describeResult(explained)}`,
    `because   ${reason.text}`,
    ...explained.candidates.map((one) => `  ${describeCandidate(explained, one)}`),
    'rules',
    ...path.map(({ hook, chain, rule, did }) => `  ${hook.padEnd(11)} ${chain}${rule ? ` (${rule})` : ''}: ${did}`),
    ...(path.length === 0 ? ['  none matched'] : []),
    `kernel    ${describeKernel(explained)}`,
    ...kernel.differences.map((one) => `  ${one}`),
    ...notes.map((note) => `note      ${note}`),
  ];
  return lines.join('\n');
}

function describeService({ service }: Explained): string {
  const { name, frontend, affinitySeconds } = service!;
  const field = frontend.kind === 'cluster-ip' ? 'internalTrafficPolicy' : 'externalTrafficPolicy';
  const policy = `${field} ${frontend.policy === 'local' ? 'Local' : 'Cluster'}`;
  const ranges = frontend.sourceRanges.length > 0 ? `, only for ${frontend.sourceRanges.join(', ')}` : '';
  const affinity = affinitySeconds > 0 ? `, clients stay for ${affinitySeconds} s` : '';
  return `${name}, ${kinds[frontend.kind]}, ${policy}${ranges}${affinity}`;
}

function describeResult({ verdict, candidates, stays, packet }: Explained): string {
  if (verdict === 'rejected') return 'refused: the caller is told that the port is unreachable';
  if (verdict === 'dropped') return 'dropped without an answer';
  if (verdict === 'unroutable') return 'not sent: the network is unreachable';
  if (verdict === 'untouched') return `passed on as it is, to ${packet.destination}`;
  const masks = new Set(candidates.map((one) => one.masquerade));
  const source =
    masks.size > 1 ? 'masqueraded for some' : masks.has(true) ? 'masqueraded' : 'with its own source address';
  const where = candidates.length === 1 ? candidates[0]!.to : `one of ${candidates.length} endpoints`;
  const mixed = verdict === 'mixed' ? '; some packets end otherwise' : '';
  return `sent to ${where}, ${source}${stays ? ', where this client was before' : ''}${mixed}`;
}

function describeCandidate(
  { pods }: Explained,
  { to, probability, masquerade, local }: Explained['candidates'][number],
): string {
  const pod = pods[splitEndpoint(to).address];
  const place = local ? 'on this node' : 'on another node';
  return `${percent(probability).padStart(8)}  ${to}  ${place}${masquerade ? ', masqueraded' : ''}${pod ? `, pod ${pod}` : ''}`;
}

function describeKernel({ kernel, origin }: Explained): string {
  const who = origin === 'proxy' ? 'the running proxy' : "the API server's objects";
  if (kernel.state === 'agrees') return `agrees with ${who}`;
  if (kernel.state === 'differs') return `differs from ${who}`;
  return 'was read, but nobody says what should be there';
}
