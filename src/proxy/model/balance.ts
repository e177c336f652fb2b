import type { Service } from '../../api/index.ts';

/** The annotation of a Service that says how its connections are spread over its endpoints. */
export const balanceAnnotation = 'deckhand.dev/balance';

/** The annotation of a Service that gives some of its endpoints more connections than others. */
export const weightsAnnotation = 'deckhand.dev/weights';

/** Schedulers of IPVS, by the names that the kernel knows. */
export const schedulers = [
  ...['rr', 'wrr', 'lc', 'wlc', 'lblc', 'lblcr', 'sh', 'dh', 'sed', 'nq', 'mh', 'fo', 'ovf', 'twos'],
] as const;

/**
 * How new connections are spread. A mode that cannot do what is asked says so and does what is nearest (see
 * {@link plainBalance}).
 */
export type Balance =
  | { readonly kind: 'random' }
  /** One endpoint after another. */
  | { readonly kind: 'round-robin' }
  /** The same client address goes to the same endpoint; few clients move when endpoints come and go. */
  | { readonly kind: 'source-hash' }
  /** A scheduler of IPVS. */
  | { readonly kind: 'scheduler'; readonly name: string };

const plain: Readonly<Record<string, Balance>> = {
  random: { kind: 'random' },
  'round-robin': { kind: 'round-robin' },
  'source-hash': { kind: 'source-hash' },
};
const byScheduler = new Map(schedulers.map((name) => [name as string, { kind: 'scheduler', name } as Balance]));

/** What the Service's annotation asks for; undefined: nothing, the mode's default. */
export function readBalance(
  service: Service,
  onProblem: (problem: { field: string; message: string }) => void,
): Balance | undefined {
  const text = service.metadata.annotations?.[balanceAnnotation]?.trim();
  if (!text) return undefined;
  const found = (Object.hasOwn(plain, text) ? plain[text] : undefined) ?? byScheduler.get(text);
  if (!found) {
    const choices = [...Object.keys(plain), ...schedulers].join(', ');
    const message = `${JSON.stringify(text)} is none of ${choices}; the mode's default is used`;
    onProblem({ field: `metadata.annotations[${balanceAnnotation}]`, message });
  }
  return found;
}

/**
 * What modes without schedulers make of a choice: `rr` and `wrr` are round-robin, `sh` and `mh` source-hash. Undefined: they
 * cannot do it.
 */
export function plainBalance(balance: Balance | undefined): 'random' | 'round-robin' | 'source-hash' | undefined {
  if (!balance) return 'random';
  if (balance.kind !== 'scheduler') return balance.kind;
  if (balance.name === 'rr' || balance.name === 'wrr') return 'round-robin';
  return balance.name === 'sh' || balance.name === 'mh' ? 'source-hash' : undefined;
}

/** Whether two choices are the same. */
export function sameBalance(a: Balance | undefined, b: Balance | undefined): boolean {
  return a?.kind === b?.kind && (a?.kind !== 'scheduler' || a.name === (b as { name: string }).name);
}
