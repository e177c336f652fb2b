import type { Clock } from '../../../async/index.ts';
import { runProgram } from '../../../host/exec/index.ts';
import { stage } from '../../calls/index.ts';
import { RuntimeError } from '../../errors.ts';
import { findProgram } from '../../settings/index.ts';

/** What plugins can be told to do. */
export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC' | 'VERSION';

/** How a plugin is called. */
export interface PluginCall {
  command: CniCommand;
  /** What the plugin reads: its part of the configuration, completed. */
  configuration: object;
  type: string;
  directories: readonly string[];
  containerId?: string;
  namespacePath?: string;
  interfaceName?: string;
  arguments?: string;
  /** After how long it is killed, milliseconds. */
  timeoutMs: number;
  clock: Clock;
}

/** Numbers of errors that plugins answer (specification, "Error"). */
export const pluginErrorCode = { unsupportedVersion: 1, badEnvironment: 4, tryLater: 11 } as const;

/** More than this no plugin answers. */
const mostOutputBytes = 1024 * 1024;

/** What a plugin answered that it could not do. */
export class CniPluginError extends RuntimeError {
  /** The plugin's own number; 0 when it gave none. */
  readonly pluginCode: number;
  constructor(message: string, pluginCode: number) {
    super('UNKNOWN', message);
    this.pluginCode = pluginCode;
  }
}

/** Runs a CNI plugin; gives what it answers. @throws CniPluginError with the plugin's own message */
export async function invokePlugin(call: PluginCall): Promise<string> {
  const { command, type, directories, timeoutMs } = call;
  const title = `plugin type="${type}" failed (${command.toLowerCase()})`;
  const path = findProgram(type, directories);
  if (!path)
    throw new CniPluginError(`failed to find plugin "${type}" in path [${directories.join(' ')}]: install it`, 0);
  const result = await stage(`CNI ${command} by plugin ${type}`, () =>
    runProgram([path], {
      input: JSON.stringify(call.configuration),
      timeoutMs,
      clock: call.clock,
      group: true,
      maximumOutputBytes: mostOutputBytes,
      environment: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: call.containerId ?? '',
        CNI_NETNS: call.namespacePath ?? '',
        CNI_IFNAME: call.interfaceName ?? '',
        CNI_ARGS: call.arguments ?? '',
        CNI_PATH: directories.join(':'),
      },
    }).catch((cause: unknown) => {
      throw new CniPluginError(`${title}: ${path}: ${(cause as Error).message}`, 0);
    }),
  );
  if (result.timedOut) throw new CniPluginError(`${title}: no answer within ${timeoutMs / 1000} s; it was killed`, 0);
  const output = result.stdout.toString('utf8');
  if (result.status === 0) {
    if (result.stdout.length >= mostOutputBytes) throw new CniPluginError(`${title}: it answered more than 1 MiB`, 0);
    return output;
  }
  const said = pluginMessage(output);
  const reason = said?.text ?? (lastLines(result.stderr.toString('utf8')) || `status ${result.status} without a word`);
  throw new CniPluginError(`${title}: ${reason}`, said?.number ?? 0);
}

/** What a plugin says of an error, in its own form. */
function pluginMessage(output: string): { text: string; number: number } | undefined {
  try {
    const { code = 0, msg, details } = JSON.parse(output) as { code?: number; msg?: string; details?: string };
    if (!msg && !details) return code ? { text: `error ${code}`, number: code } : undefined;
    const text = [msg, details].filter(Boolean).join('; ');
    return { text: code ? `${text} (code ${code})` : text, number: code };
  } catch {
    return undefined;
  }
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-5).join('; ').slice(-2000);
}
