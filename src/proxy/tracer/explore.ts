import type { Choose } from './packet.ts';

/** Most ways that are followed; a packet with more is an error of the rules, or of ours. */
const mostWays = 100_000;

/**
 * Runs something that makes random choices once for each way the choices can fall. Each run is a fresh one: what it
 * works on must be made inside. Gives each result with the probability of its choices.
 */
export function explore<T>(run: (choose: Choose) => T): { probability: number; result: T }[] {
  const found: { probability: number; result: T }[] = [];
  const path: { chosen: number; weights: readonly number[] }[] = [];
  for (;;) {
    let depth = 0;
    const result = run((weights) => {
      const known = path[depth];
      if (!known) path.push({ chosen: firstPossible(weights, 0), weights });
      return path[depth++]!.chosen;
    });
    path.length = depth;
    found.push({ probability: path.reduce((all, { chosen, weights }) => all * weights[chosen]!, 1), result });
    if (found.length > mostWays) throw new RangeError(`more than ${mostWays} ways through the rules`);
    // The next way: the last choice that can fall otherwise.
    for (;;) {
      const last = path.at(-1);
      if (!last) return found;
      last.chosen = firstPossible(last.weights, last.chosen + 1);
      if (last.chosen < last.weights.length) break;
      path.pop();
    }
  }
}

function firstPossible(weights: readonly number[], from: number): number {
  let index = from;
  while (index < weights.length && weights[index] === 0) index++;
  return index;
}
