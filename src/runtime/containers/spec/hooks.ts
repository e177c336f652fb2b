import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, RuntimeError } from '../../errors.ts';
import type { OciHook, OciSpec } from './oci-spec.ts';

/** When a hook runs (OCI runtime specification, Hooks). */
export const hookStages = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;

export type HookStage = (typeof hookStages)[number];

/** A file of a hooks directory, in the form that podman and CRI-O share (oci-hooks, version 1.0.0). */
interface HookFile {
  version: string;
  hook: OciHook;
  when: { always?: boolean; annotations?: Record<string, string>; commands?: string[]; hasBindMounts?: boolean };
  stages: HookStage[];
}

/**
 * Adds the hooks of the directories whose conditions a container meets. A file of a later directory takes the place of
 * one with the same name. @throws RuntimeError naming a file that is not as it must be: a hook may be what keeps a rule
 */
export async function addHooks(spec: OciSpec, directories: readonly string[], hasBindMounts: boolean): Promise<void> {
  const files = new Map<string, string>();
  for (const directory of directories)
    for (const name of await readdir(directory).catch(() => []))
      if (name.endsWith('.json')) files.set(name, join(directory, name));
  for (const name of [...files.keys()].sort()) {
    const file = await readHook(files.get(name)!);
    if (!applies(file, spec, hasBindMounts)) continue;
    for (const stage of file.stages)
      spec.hooks = { ...spec.hooks, [stage]: [...(spec.hooks?.[stage] ?? []), file.hook] };
  }
}

async function readHook(path: string): Promise<HookFile> {
  try {
    const file = JSON.parse(await readFile(path, 'utf8')) as Partial<HookFile>;
    if (file.version !== '1.0.0') throw new Error(`version ${JSON.stringify(file.version)} is not known`);
    if (!file.hook?.path?.startsWith('/')) throw new Error('hook.path is no absolute path');
    if (!file.when || !Array.isArray(file.stages)) throw new Error('when and stages must be given');
    const unknown = file.stages.find((stage) => !hookStages.includes(stage));
    if (unknown) throw new Error(`stage ${JSON.stringify(unknown)} is not known`);
    return file as HookFile;
  } catch (cause) {
    throw new RuntimeError('FAILED_PRECONDITION', `OCI hook ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** All conditions that a file names must be met; one without any is never. */
function applies({ when }: HookFile, spec: OciSpec, hasBindMounts: boolean): boolean {
  const results: boolean[] = [];
  if (when.always !== undefined) results.push(when.always);
  if (when.hasBindMounts !== undefined) results.push(when.hasBindMounts === hasBindMounts);
  if (when.commands)
    results.push(when.commands.some((pattern) => new RegExp(pattern).test(spec.process.args[0] ?? '')));
  for (const [key, value] of Object.entries(when.annotations ?? {}))
    results.push(
      Object.entries(spec.annotations).some(
        ([name, content]) => new RegExp(key).test(name) && new RegExp(value).test(content),
      ),
    );
  return results.length > 0 && results.every(Boolean);
}
