import type { Container, Probe } from '../../api/index.ts';
import { type Clock, systemClock } from '../../async/index.ts';
import { GrpcError } from '../../wire/grpc/index.ts';
import { connectProbe } from '../../wire/http/index.ts';
import { describeError } from '../errors.ts';
import { bracket, resolvePort } from '../pods/hooks.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { FairTimeout } from './fair-timeout.ts';
import { checkHealth } from './grpc-health.ts';
import { httpProbe } from './http-probe.ts';
import { mostOutput, networkText, ProbeFailure, type ProbeOutcome } from './probe-outcome.ts';

/** What a probe is made with. */
export interface ProbeTarget {
  client: RuntimeClient;
  containerId: string;
  container: Pick<Container, 'name' | 'ports'>;
  podIp: string;
  /** Default: the machine's. */
  clock?: Clock;
}

/** How long the runtime may take beyond a command's own time, milliseconds. */
const runtimeGraceMs = 2000;

/** Makes one probe. Never throws. */
export async function runProbe(probe: Probe, target: ProbeTarget): Promise<ProbeOutcome> {
  const timeoutMs = (probe.timeoutSeconds || 1) * 1000;
  const limit = new FairTimeout(target.clock ?? systemClock, probe.exec ? timeoutMs + runtimeGraceMs : timeoutMs);
  try {
    return await makeProbe(probe, target, limit, timeoutMs);
  } catch (error) {
    if (error instanceof ProbeFailure) return { kind: 'failure', output: error.message };
    return { kind: 'error', output: describeError(error) };
  } finally {
    limit.cancel();
  }
}

async function makeProbe(
  probe: Probe,
  target: ProbeTarget,
  limit: FairTimeout,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  if (probe.exec) return execProbe(probe.exec.command ?? [], target, timeoutMs, limit);
  if (probe.httpGet) return httpProbe(probe.httpGet, target, limit);
  if (probe.tcpSocket) {
    const host = probe.tcpSocket.host || target.podIp;
    const port = resolvePort(target.container, probe.tcpSocket.port);
    await connectProbe(host, port, limit.signal).catch((error: NodeJS.ErrnoException) => {
      const dial = `dial tcp ${bracket(host)}:${port}`;
      throw new ProbeFailure(limit.isOver ? `${dial}: i/o timeout` : networkText(error, dial));
    });
    return { kind: 'success' };
  }
  if (probe.grpc) {
    const { port, service } = probe.grpc;
    const problem = await checkHealth(target.podIp, port, service ?? '', { timeoutMs, limit });
    return problem ? { kind: 'failure', output: problem } : { kind: 'success' };
  }
  return { kind: 'error', output: `missing probe handler for container ${target.container.name}` };
}

async function execProbe(
  cmd: string[],
  target: ProbeTarget,
  timeoutMs: number,
  limit: FairTimeout,
): Promise<ProbeOutcome> {
  const seconds = timeoutMs / 1000;
  const late = `command timed out: ${JSON.stringify(cmd.join(' '))} timed out after ${seconds}s`;
  try {
    const { exitCode, stdout, stderr } = await target.client.runtime.execSync(
      { containerId: target.containerId, cmd, timeout: BigInt(Math.max(1, Math.ceil(seconds))) },
      { signal: limit.signal },
    );
    if (exitCode === 0) return { kind: 'success' };
    return { kind: 'failure', output: Buffer.concat([stdout, stderr]).subarray(0, mostOutput).toString('utf8') };
  } catch (error) {
    const isLate =
      limit.isOver ||
      (error instanceof GrpcError && (error.code === 'DEADLINE_EXCEEDED' || /timeout|deadline/i.test(error.message)));
    if (isLate) return { kind: 'failure', output: late };
    throw error;
  }
}
