import { inspect } from 'node:util';
import type { Behaviour, Outcome, Topic } from './behaviour.ts';
import type { Cri } from './cri.ts';
import { featureReasons } from './features.ts';

/** How long a behaviour may take, milliseconds. */
const limitMs = 60_000;

/** Runs behaviours, `parallel` at a time, then those that must be alone; tells each as it is found. */
export async function runBehaviours(
  cri: Cri,
  topics: readonly Topic[],
  options: { parallel: number; only?: RegExp; onOutcome: (outcome: Outcome) => void },
): Promise<void> {
  const all = topics.flatMap(([topic, behaviours]) => behaviours.map((behaviour) => ({ topic, behaviour })));
  const wanted = all.filter(({ topic, behaviour }) => options.only?.test(`${topic}: ${behaviour.name}`) ?? true);
  const together = wanted.filter(({ behaviour }) => !behaviour.alone);
  const alone = wanted.filter(({ behaviour }) => behaviour.alone);
  const work = async (queue: typeof wanted): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift())
      options.onOutcome(await runOne(cri, next.topic, next.behaviour));
  };
  await Promise.all(Array.from({ length: options.parallel }, () => work(together)));
  await work(alone);
}

async function runOne(cri: Cri, topic: string, { name, needs = [], run }: Behaviour): Promise<Outcome> {
  const missing = needs.find((feature) => !cri.features.has(feature));
  if (missing) return { topic, name, state: 'skipped', milliseconds: 0, reason: featureReasons[missing] };
  const started = performance.now();
  const took = () => Math.round(performance.now() - started);
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${limitMs / 1000} s`)), limitMs);
    });
    await Promise.race([run(cri), late]);
    return { topic, name, state: 'passed', milliseconds: took() };
  } catch (error) {
    return { topic, name, state: 'failed', milliseconds: took(), reason: explain(error) };
  } finally {
    clearTimeout(timer);
  }
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error);
  const code = 'code' in error && error.code !== 'ERR_ASSERTION' ? `${error.code}: ` : '';
  const place = error.stack?.split('\n').find((line) => line.includes('/behaviours/')) ?? '';
  return `${code}${error.message}\n${place.trim()}`;
}
