import { invalid } from '../errors.ts';

/** How fast a pod may receive and send, bits per second. */
export interface Bandwidth {
  /** To the pod. */
  ingress?: number;
  /** From the pod. */
  egress?: number;
}

const names = { ingress: 'kubernetes.io/ingress-bandwidth', egress: 'kubernetes.io/egress-bandwidth' } as const;
const suffixes = ['', 'k', 'M', 'G', 'T', 'P'];
const [least, most] = [1e3, 1e15];

/**
 * The limits that a pod's annotations ask for; undefined without any.
 * @throws RuntimeError for a value that cannot be read or is out of range
 */
export function readBandwidth(annotations: Readonly<Record<string, string>>): Bandwidth | undefined {
  const [ingress, egress] = (['ingress', 'egress'] as const).map((direction) => {
    const text = annotations[names[direction]];
    return text === undefined ? undefined : parseRate(names[direction], text);
  });
  if (ingress === undefined && egress === undefined) return undefined;
  return { ...(ingress === undefined ? {} : { ingress }), ...(egress === undefined ? {} : { egress }) };
}

/** A quantity as Kubernetes writes them: `10M`, `1.5Gi`, `1e6`. */
function parseRate(name: string, text: string): number {
  const match = /^\+?(\d+(?:\.\d*)?|\.\d+)(?:[eE](\+?\d+)|([kMGTP]?)(i?))$/.exec(text.trim());
  const power = suffixes.indexOf(match?.[3] ?? '');
  if (!match || (match[4] && power === 0) || (match[3] === 'k' && match[4]))
    throw invalid(`annotation ${name}: "${text}" is not a quantity of bits per second such as 10M`);
  const rate = Math.round(Number(match[1]) * 10 ** Number(match[2] ?? 0) * (match[4] ? 1024 : 1000) ** power);
  if (rate < least || rate > most)
    throw invalid(`annotation ${name}: ${text} is not between 1k and 1P bits per second`);
  return rate;
}
