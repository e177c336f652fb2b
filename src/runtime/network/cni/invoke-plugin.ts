import type { Clock } from '../../../async/index.ts';
import { runProgram } from '../../../host/exec/index.ts';
import { RuntimeError } from '../../errors.ts';
import { findProgram } from '../../settings/index.ts';

/** How a plugin is called. */
export interface PluginCall {
  command: 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC' | 'VERSION';
  /** What the plugin reads: its part of the configuration, completed. */
  configuration: object;
  type: string;
  directories: readonly string[];
  containerId?: string;
  namespacePath?: string;
  interfaceName?: string;
  arguments?: string;
  clock: Clock;
}

const timeoutMs = 60_000;

/** Runs a CNI plugin; gives what it answers. @throws RuntimeError with the plugin's own message */
export async function invokePlugin(call: PluginCall): Promise<string> {
  const path = findProgram(call.type, call.directories);
  if (!path)
    throw new RuntimeError('UNKNOWN', `failed to find plugin "${call.type}" in path [${call.directories.join(' ')}]`);
  const result = await runProgram([path], {
    input: JSON.stringify(call.configuration),
    timeoutMs,
    clock: call.clock,
    environment: {
      CNI_COMMAND: call.command,
      CNI_CONTAINERID: call.containerId ?? '',
      CNI_NETNS: call.namespacePath ?? '',
      CNI_IFNAME: call.interfaceName ?? '',
      CNI_ARGS: call.arguments ?? '',
      CNI_PATH: call.directories.join(':'),
    },
  });
  const output = result.stdout.toString('utf8');
  if (result.status === 0) return output;
  const said = pluginMessage(output) ?? result.stderr.toString('utf8').trim();
  const reason = result.timedOut ? `no answer within ${timeoutMs / 1000} s` : said || `status ${result.status}`;
  throw new RuntimeError('UNKNOWN', `plugin type="${call.type}" failed (${call.command.toLowerCase()}): ${reason}`);
}

function pluginMessage(output: string): string | undefined {
  try {
    const { msg, details } = JSON.parse(output) as { msg?: string; details?: string };
    return details ? `${msg}: ${details}` : msg;
  } catch {
    return undefined;
  }
}
