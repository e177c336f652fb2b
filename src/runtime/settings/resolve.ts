import { accessSync, constants } from 'node:fs';
import { type FileSettings, type FilledSettings, type Setting, settingTable } from './table.ts';

/** An OCI runtime program that pods can choose by name (`runtime_handler`). */
export type OciRuntimeSettings = NonNullable<FileSettings['runtimes']>[number];

/** How the runtime runs: the settings of the file (see table.ts) and where it lives. Paths are absolute. */
export interface RuntimeSettings extends FileSettings {
  /** The unix socket of the CRI: `/path` or `unix:///path`. */
  listen: string;
  /** What must survive a reboot: images, snapshots, records of sandboxes and containers. */
  root: string;
  /** What belongs to this boot: namespaces, bundles, sockets, exit files. */
  state: string;
  /** The version that the runtime reports. */
  version?: string;
}

/** Settings with every default filled in. */
export type ResolvedSettings = FilledSettings &
  Required<Pick<RuntimeSettings, 'listen' | 'root' | 'state' | 'version' | 'runtimes' | 'conmonPath'>>;

const programDirectories = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/usr/libexec/podman',
];

/** Fills in defaults. @throws Error naming the program that is missing */
export function resolveSettings(settings: RuntimeSettings): ResolvedSettings {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  const filled = { ...defaults(), ...Object.fromEntries(given) } as RuntimeSettings & FilledSettings;
  const runtimes = settings.runtimes ?? ['runc', 'crun'].flatMap((name) => ociRuntime(name));
  if (runtimes.length === 0) throw new Error('no OCI runtime found: install runc');
  const conmonPath = settings.conmonPath ?? findProgram('conmon');
  if (!conmonPath) throw new Error('conmon not found: install the package conmon');
  return {
    ...filled,
    runtimes,
    conmonPath,
    listen: settings.listen.replace(/^unix:(\/\/)?/, ''),
    version: settings.version ?? '0.1.0',
  };
}

/** The default of every setting that has one. */
function defaults(): Record<string, unknown> {
  const entries = Object.entries(settingTable as Record<string, Setting<unknown, boolean>>);
  return Object.fromEntries(
    entries.flatMap(([name, { default: value }]) => (value === undefined ? [] : [[name, value]])),
  );
}

function ociRuntime(name: string): OciRuntimeSettings[] {
  const path = findProgram(name);
  return path ? [{ name, path }] : [];
}

/** The path of a program in the usual directories. */
export function findProgram(name: string, directories: readonly string[] = programDirectories): string | undefined {
  for (const directory of directories) {
    try {
      accessSync(`${directory}/${name}`, constants.X_OK);
      return `${directory}/${name}`;
    } catch {
      // Not in this one.
    }
  }
  return undefined;
}
