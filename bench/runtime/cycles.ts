import { readdirSync, readFileSync } from 'node:fs';
import type { NetworkNamespace } from '../../test/support/network-namespace.ts';
import { output } from '../../test/support/processes.ts';
import type { DeckhandRuntime } from './deckhand-runtime.ts';
import { type Peer, removePod, runPod } from './pods.ts';

/** Whatever a runtime may forget to give back, counted. */
async function countAll(runtime: DeckhandRuntime, namespace: NetworkNamespace): Promise<Record<string, number>> {
  const lines = (text: string, part: string) => text.split('\n').filter((line) => line.includes(part)).length;
  const entries = (path: string) => readdirSync(path, { recursive: true }).length;
  const links = await namespace.output(['ip', '-o', 'link', 'show']);
  return {
    processes: Number(await output(['sh', '-c', `grep -la ${runtime.base} /proc/[0-9]*/cmdline 2>/dev/null | wc -l`])),
    mounts: lines(readFileSync('/proc/self/mountinfo', 'utf8'), runtime.base),
    namespaces: Number(await output(['sh', '-c', 'lsns --noheadings --type net | wc -l'])),
    cgroups: Number(
      await output(['sh', '-c', `find /sys/fs/cgroup -type d -path '*${runtime.cgroupParent}/*' | wc -l`]),
    ),
    links: links.split('\n').filter(Boolean).length,
    files: entries(`${runtime.base}/root`) + entries(`${runtime.base}/state`),
    descriptors: readdirSync(`/proc/${runtime.pid}/fd`).length,
    'runtime memory, MB': Math.round(runtime.memory().runtimeMb),
  };
}

/** Makes and removes pods, several side by side, and tells what there is of everything before, meanwhile and after. */
export async function measureCycles(
  runtime: DeckhandRuntime,
  peer: Peer,
  namespace: NetworkNamespace,
  cycles: number,
): Promise<{ what: string; result: string }[]> {
  const figures: { what: string; result: string }[] = [];
  const look = async (done: number): Promise<void> => {
    const counts = Object.entries(await countAll(runtime, namespace));
    figures.push({ what: `after ${done} pods`, result: counts.map(([name, n]) => `${name} ${n}`).join(', ') });
  };
  const width = 5;
  const run = async (pods: number): Promise<void> => {
    const one = async (): Promise<void> => removePod(peer, await runPod(peer));
    for (let done = 0; done < pods; done += width) await Promise.all(Array.from({ length: width }, one));
  };
  // The first pods bring in code and pools that stay.
  await run(20);
  await look(0);
  for (let part = 1; part <= 4; part++) {
    await run(cycles / 4);
    await look((cycles / 4) * part);
  }
  return figures;
}
