import type { Frontend, ServicePortStatus } from '../../proxy/index.ts';
import type { ProxyStatus } from './proxy-status.ts';

/** Rows of a screen. */
const mostRows = 30;
/** Differences that are written out. */
const mostDifferences = 8;

/** The status as one screen of text. */
export function printProxyStatus(
  status: ProxyStatus,
  { all, details, now }: { all: boolean; details: boolean; now: number },
): string {
  const rank = { differs: 0, no: 0, unread: 1, yes: 2 };
  const order = (one: ServicePortStatus) => (one.refused ? 0 : rank[one.kernel]);
  const services = [...status.services].sort((a, b) => order(a) - order(b) || (a.name < b.name ? -1 : 1));
  const shown = all || details ? services : services.slice(0, mostRows);
  const rows = shown.map((one) => [
    one.name,
    one.protocol,
    one.frontends.map(describeFrontend).join(' '),
    policies(one.frontends),
    `${one.endpoints.length} (${one.localEndpoints.length} here)`,
    one.refused ? 'refused' : one.kernel,
  ]);
  const lines = [
    ...head(status, now),
    '',
    ...table(['SERVICE', 'PROTOCOL', 'ADDRESSES', 'POLICY', 'ENDPOINTS', 'IN KERNEL'], rows),
    ...(shown.length < services.length ? [`and ${services.length - shown.length} more: --all shows them`] : []),
  ];
  for (const one of services) {
    if (details)
      lines.push(
        ...one.endpoints.map(
          (to) => `  ${one.name} to ${to}${one.localEndpoints.includes(to) ? ', on this node' : ''}`,
        ),
      );
    lines.push(...limited(one.differences).map((text) => `  ${one.name}: ${text}`));
    if (lines.length > 500 && !all) break;
  }
  return lines.join('\n');
}

function head({ origin, mode, nodeName, state, families, services }: ProxyStatus, now: number): string[] {
  const bad = services.filter((one) => one.kernel !== 'yes').length;
  const lines = [
    `node ${nodeName}, mode ${mode}: ${services.length} Service ports, ${bad === 0 ? 'all' : services.length - bad} in the kernel as they should be`,
  ];
  if (state) {
    const waiting = state.families.reduce((sum, one) => sum + one.pending, 0);
    const last = Object.values(state.lastSync).map((at) => now - at);
    const ago = last.length > 0 ? `last written ${seconds(Math.min(...last))} ago` : 'nothing written yet';
    lines.push(
      `proxy runs as process ${state.pid} for ${seconds(now - state.startedAt)}; ${ago}; ${waiting} changes wait; ${state.repairs} repairs`,
    );
  } else
    lines.push(`no proxy runs here: compared with what the ${origin === 'api' ? 'API server says' : 'proxy says'}`);
  for (const { family, kernel, differences, surplus, error } of families) {
    if (error !== undefined) lines.push(`IPv${family}: the kernel cannot be read: ${error}`);
    else if (kernel === 'no') lines.push(`IPv${family}: the kernel has no ${mode} rules of a proxy`);
    lines.push(...limited([...differences, ...surplus]).map((text) => `IPv${family}: ${text}`));
  }
  for (const { service, reason, message, at, count } of state?.problems.slice(0, mostDifferences) ?? [])
    lines.push(`${service}: ${reason}: ${message} (${seconds(now - at)} ago${count > 1 ? `, ${count} times` : ''})`);
  return lines;
}

function limited(texts: readonly string[]): string[] {
  if (texts.length <= mostDifferences) return [...texts];
  return [...texts.slice(0, mostDifferences), `and ${texts.length - mostDifferences} more`];
}

function describeFrontend({ kind, address, port }: Frontend): string {
  if (kind === 'node-port') return `node:${port}`;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function policies(frontends: readonly Frontend[]): string {
  const of = (internal: boolean) => {
    const found = frontends.find((one) => (one.kind === 'cluster-ip') === internal);
    return found?.policy === 'local' ? 'Local' : found ? 'Cluster' : undefined;
  };
  const [internal, external] = [of(true), of(false)];
  if (internal === undefined || external === undefined || internal === external) return internal ?? external ?? '';
  return `${internal}/${external}`;
}

function seconds(ms: number): string {
  const whole = Math.max(0, Math.round(ms / 1000));
  if (whole < 120) return `${whole} s`;
  return whole < 7200 ? `${Math.round(whole / 60)} min` : `${Math.round(whole / 3600)} h`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)];
}
