import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerConfig } from '../../../api/cri/index.ts';
import { invalid, messageOf, RuntimeError, unlessMissing } from '../../errors.ts';
import { type CdiEdits, type CdiSpec, checkCdiSpec, parseCdiName } from './cdi-spec.ts';

const annotationPrefix = 'cdi.k8s.io/';

/** The devices that a container asks for, by field and by annotation, each once. */
export function cdiNames({ CDIDevices, annotations }: ContainerConfig): string[] {
  const byAnnotation = Object.entries(annotations)
    .filter(([key]) => key.startsWith(annotationPrefix))
    .flatMap(([, value]) => value.split(',').map((one) => one.trim()))
    .filter(Boolean);
  return [...new Set([...CDIDevices.map(({ name }) => name), ...byAnnotation])];
}

/**
 * The changes that devices ask for, in order: those that all devices of a specification share come once, before its
 * first device. A specification in a later directory goes before one in an earlier; in one directory a device may be
 * there once.
 * @throws RuntimeError NOT_FOUND for a device that no specification has, with the broken ones that may be why
 */
export async function findCdiEdits(names: readonly string[], directories: readonly string[]): Promise<CdiEdits[]> {
  if (names.length === 0) return [];
  const { specs, problems } = await readSpecs(directories);
  const edits: CdiEdits[] = [];
  const begun = new Set<CdiSpec>();
  for (const name of names) {
    const { spec, own } = findDevice(name, specs, directories, problems);
    if (spec.containerEdits && !begun.has(spec)) edits.push(spec.containerEdits);
    begun.add(spec);
    edits.push(own);
  }
  return edits;
}

interface FoundSpec {
  file: string;
  /** The place of its directory: the higher goes before. */
  rank: number;
  spec: CdiSpec;
}

function findDevice(
  name: string,
  specs: readonly FoundSpec[],
  directories: readonly string[],
  problems: readonly string[],
): { spec: CdiSpec; own: CdiEdits } {
  const { kind, device } = parseCdiName(name);
  const found = specs.flatMap(({ file, rank, spec }) => {
    const entry = spec.kind === kind ? spec.devices.find((one) => one.name === device) : undefined;
    return entry ? [{ file, rank, spec, own: entry.containerEdits ?? {} }] : [];
  });
  const best = Math.max(...found.map(({ rank }) => rank));
  const [first, second] = found.filter(({ rank }) => rank === best);
  if (!first) {
    const broken = problems.length > 0 ? `; not readable: ${problems.join(', ')}` : '';
    throw new RuntimeError('NOT_FOUND', `CDI device "${name}" is in no file of ${directories.join(', ')}${broken}`);
  }
  if (second) throw invalid(`CDI device "${name}" is in both ${first.file} and ${second.file}`);
  return first;
}

async function readSpecs(directories: readonly string[]): Promise<{ specs: FoundSpec[]; problems: string[] }> {
  const specs: FoundSpec[] = [];
  const problems: string[] = [];
  for (const [rank, directory] of directories.entries()) {
    const files = ((await unlessMissing(readdir(directory))) ?? []).filter((name) => /\.(json|ya?ml)$/.test(name));
    for (const name of files.sort()) {
      const file = join(directory, name);
      // Few nodes have devices. JSON is YAML too.
      const { parse } = await import('yaml');
      try {
        specs.push({ file, rank, spec: checkCdiSpec(parse(await readFile(file, 'utf8'))) });
      } catch (cause) {
        problems.push(`${file} (${messageOf(cause)})`);
      }
    }
  }
  return { specs, problems };
}
