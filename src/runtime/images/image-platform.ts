import { readFileSync } from 'node:fs';
import { arch } from 'node:os';

/** What a machine is, as images name it. */
export interface Platform {
  architecture: string;
  /** `v7` of arm, `v8` of arm64; of amd64 the level of its processor (`v1` to `v4`). */
  variant?: string;
}

/** What an image says that it is for. */
export interface ImagePlatform {
  os?: string;
  architecture?: string;
  variant?: string;
  'os.features'?: string[];
}

/** Processor flags that each level of x86-64 adds (x86-64 psABI). */
const levels: readonly (readonly string[])[] = [
  ['cx16', 'lahf_lm', 'popcnt', 'sse4_1', 'sse4_2', 'ssse3'],
  ['avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe', 'xsave'],
  ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'],
];

/** This machine. */
export function thisPlatform(): Platform {
  const names: Record<string, string> = { x64: 'amd64', ia32: '386' };
  const architecture = names[arch()] ?? arch();
  if (architecture === 'amd64') return { architecture, variant: `v${amd64Level(processorFlags())}` };
  if (architecture === 'arm64') return { architecture, variant: 'v8' };
  if (architecture === 'arm') return { architecture, variant: `v${armVersion()}` };
  return { architecture };
}

/** The level of x86-64 that processor flags make. */
export function amd64Level(flags: ReadonlySet<string>): number {
  const missing = levels.findIndex((level) => !level.every((flag) => flags.has(flag)));
  return missing < 0 ? levels.length + 1 : missing + 1;
}

function processorFlags(): ReadonlySet<string> {
  try {
    return new Set(/^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '));
  } catch {
    return new Set();
  }
}

function armVersion(): string {
  const { arm_version: version } = process.config.variables as { arm_version?: string };
  return version ?? '7';
}

/**
 * How well an image's platform fits a machine: 0 does not, more is better. An image without a variant is for any
 * machine of its architecture; of several that would run, the one that uses most of the processor comes after that.
 */
export function platformFit(image: ImagePlatform, machine: Platform): number {
  if (image.os !== 'linux' || (image['os.features']?.length ?? 0) > 0) return 0;
  const wanted = level(image.variant);
  const have = level(machine.variant) ?? 0;
  if (image.architecture === machine.architecture) {
    const plain = machine.architecture === 'arm' ? 7 : machine.architecture === 'arm64' ? 8 : 1;
    const needed = wanted ?? plain;
    if (needed > have && machine.variant !== undefined) return 0;
    // amd64: the plain one is what everybody else runs; arm: the closest.
    if (machine.architecture === 'amd64') return needed === 1 ? 200 : 100 + needed;
    return 100 + needed;
  }
  // Most 64-bit processors run programs for their 32-bit forebears.
  if (machine.architecture === 'amd64' && image.architecture === '386') return 1;
  if (machine.architecture === 'arm64' && image.architecture === 'arm') return 1 + (wanted ?? 7);
  return 0;
}

function level(variant: string | undefined): number | undefined {
  const digits = /^v?(\d+)/.exec(variant ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** The manifest of an index that is for a machine; undefined when none is. */
export function chooseManifest<T extends { platform?: ImagePlatform }>(
  manifests: readonly T[],
  machine: Platform,
): T | undefined {
  let best: { descriptor: T; fit: number } | undefined;
  for (const descriptor of manifests) {
    const fit = descriptor.platform ? platformFit(descriptor.platform, machine) : 0;
    if (fit > (best?.fit ?? 0)) best = { descriptor, fit };
  }
  return best?.descriptor ?? manifests.find(({ platform }) => !platform);
}
