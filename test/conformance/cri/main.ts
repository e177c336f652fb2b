/**
 * Runs the CRI suite against an endpoint: `CRI_ENDPOINT=unix:///run/x.sock node test/conformance/cri/main.ts`.
 *
 *   --only REGEX     behaviours whose `topic: name` matches
 *   --parallel N     how many at a time; default 8
 *   --list           print the behaviours and end
 *   --json           one JSON document a line, for programs
 *
 * It has to run as root on the runtime's machine and in its network namespace, and the runtime has to be able to pull
 * the images of Kubernetes' own tests (registry.k8s.io/e2e-test-images/…). CRI_REGISTRY=host:port names a registry that has
 * the images of ours too (test/support/cri-registry.ts). Ends with status 1 when a behaviour fails.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Outcome } from './behaviour.ts';
import { busybox, Cri } from './cri.ts';
import { findFeatures } from './features.ts';
import { runBehaviours } from './run-behaviours.ts';
import { topics } from './topics.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    parallel: { type: 'string', default: '8' },
    json: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});

function print(outcome: Outcome): void {
  const { topic, name, state, milliseconds, reason } = outcome;
  if (values.json) return console.log(JSON.stringify(outcome));
  const mark = { passed: 'ok  ', failed: 'FAIL', skipped: 'skip' }[state];
  console.log(
    `${mark} ${topic}: ${name} (${milliseconds} ms)${reason ? `\n     ${reason.replaceAll('\n', '\n     ')}` : ''}`,
  );
}

async function main(): Promise<number> {
  if (values.list) {
    for (const [topic, behaviours] of topics) for (const { name } of behaviours) console.log(`${topic}: ${name}`);
    return 0;
  }
  const endpoint = process.env['CRI_ENDPOINT'];
  if (!endpoint) {
    console.error('CRI_ENDPOINT is not set: CRI_ENDPOINT=unix:///run/containerd/containerd.sock node main.ts');
    return 2;
  }
  const directory = await mkdtemp(join(tmpdir(), 'dh-suite-'));
  const count = { passed: 0, failed: 0, skipped: 0 };
  try {
    await using cri = new Cri(endpoint, directory, await findFeatures(endpoint));
    await cri.pull(busybox);
    await runBehaviours(cri, topics, {
      parallel: Number(values.parallel),
      ...(values.only ? { only: new RegExp(values.only) } : {}),
      onOutcome: (outcome) => {
        count[outcome.state]++;
        print(outcome);
      },
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  if (!values.json) console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  return count.failed > 0 ? 1 : 0;
}

process.exit(await main());
