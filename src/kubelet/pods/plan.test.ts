import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../api/index.ts';
import {
  makeContainer,
  makeEnded,
  makePod,
  makeRuntimeContainer,
  makeRuntimePod,
  makeSandbox,
} from '../testing/pods.ts';
import { type PlanInput, planPod, removableContainers } from './plan.ts';
import type { RuntimePod } from './runtime-state.ts';
import type { Plan } from './steps.ts';

function plan(pod: Pod, runtime: RuntimePod, changes: Partial<PlanInput> = {}): Plan {
  return planPod({
    pod,
    runtime,
    crashBackoff: () => ({ remainingMs: 0, delayMs: 0 }),
    known: () => ({ started: false }),
    retryInMs: () => 0,
    startupProbe: () => 'success',
    livenessFailed: () => false,
    ...changes,
  });
}

/** A plan in short: `start main#1`, `kill main`, `create-sandbox 0` … */
function short({ steps }: Plan): string[] {
  return steps.map((step): string => {
    switch (step.kind) {
      case 'create-sandbox':
        return `create-sandbox ${step.attempt}`;
      case 'stop-sandbox':
        return `stop-sandbox ${step.sandbox.id}`;
      case 'start-container':
        return `start ${step.container.name}#${step.restartCount}`;
      case 'kill-container':
        return `kill ${step.container.name}`;
      case 'resize-pod':
        return 'resize';
      case 'restart-all':
        return `restart-all ${[...step.others, ...step.causes].map(({ name }) => name).join(' ')}`;
      default:
        return `remove ${step.container.name}`;
    }
  });
}

const two = { containers: [makeContainer('a'), makeContainer('b')] };
const inits = { initContainers: [makeContainer('i1'), makeContainer('i2')] };
const sidecar = (name: string) => makeContainer(name, { restartPolicy: 'Always' });

describe('planPod', () => {
  it('makes a sandbox first', () => {
    assert.deepEqual(short(plan(makePod(), makeRuntimePod())), ['create-sandbox 0']);
  });

  it('starts the app containers in order once the sandbox is there', () => {
    assert.deepEqual(short(plan(makePod(two), makeRuntimePod([makeSandbox()]))), ['start a#0', 'start b#0']);
  });

  it('leaves a pod alone that runs as it should', () => {
    const runtime = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('main')]);
    assert.deepEqual(plan(makePod(), runtime), { steps: [], crashLooping: new Map(), finished: false });
  });

  it('replaces a sandbox that has died, and keeps counting attempts and restarts', () => {
    const dead = makeSandbox({ ready: false, attempt: 2 });
    const runtime = makeRuntimePod([dead], [makeEnded('main', 137)]);
    assert.deepEqual(short(plan(makePod(), runtime)), ['stop-sandbox sandbox-0', 'create-sandbox 3']);
    const anew = makeRuntimePod([makeSandbox({ id: 'sandbox-1', attempt: 3 }), dead], [makeEnded('main', 137)]);
    assert.deepEqual(short(plan(makePod(), anew)), ['start main#1']);
  });

  it('replaces a sandbox that has lost its address', () => {
    const runtime = makeRuntimePod([makeSandbox({ ips: [] })], []);
    assert.deepEqual(short(plan(makePod(), runtime)), ['stop-sandbox sandbox-0', 'create-sandbox 1']);
  });

  it('does not replace the sandbox of a pod that has come to its end', () => {
    const pod = makePod({ restartPolicy: 'OnFailure' });
    const runtime = makeRuntimePod([makeSandbox({ ready: false })], [makeEnded('main', 0)]);
    assert.equal(plan(pod, runtime).finished, true);
  });

  it('waits with a sandbox that could not be made', () => {
    const result = plan(makePod(), makeRuntimePod(), { retryInMs: (what) => (what === 'sandbox' ? 700 : 0) });
    assert.deepEqual([result.steps.length, result.againInMs], [0, 700]);
  });

  it('restarts by the policy of the pod', () => {
    const cases: [string, number, string[]][] = [
      ['Always', 0, ['start main#1']],
      ['Always', 1, ['start main#1']],
      ['OnFailure', 1, ['start main#1']],
      ['OnFailure', 0, []],
      ['Never', 1, []],
    ];
    for (const [restartPolicy, exitCode, steps] of cases) {
      const runtime = makeRuntimePod([makeSandbox()], [makeEnded('main', exitCode)]);
      const result = plan(makePod({ restartPolicy }), runtime);
      assert.deepEqual(short(result), steps, `${restartPolicy} ${exitCode}`);
      assert.equal(result.finished, steps.length === 0);
    }
  });

  it('restarts by the rules of the container before the policy of the pod', () => {
    const rules = [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }];
    const pod = makePod({ restartPolicy: 'Never', containers: [makeContainer('main', { restartPolicyRules: rules })] });
    assert.deepEqual(short(plan(pod, makeRuntimePod([makeSandbox()], [makeEnded('main', 42)]))), ['start main#1']);
    assert.equal(plan(pod, makeRuntimePod([makeSandbox()], [makeEnded('main', 1)])).finished, true);
  });

  it('holds a container in its crash back-off and says for how long', () => {
    const runtime = makeRuntimePod([makeSandbox()], [makeEnded('main', 1)]);
    const result = plan(makePod(), runtime, { crashBackoff: () => ({ remainingMs: 4000, delayMs: 10_000 }) });
    assert.deepEqual([result.steps, result.againInMs, result.crashLooping.get('main')], [[], 4000, 10_000]);
    assert.equal(result.finished, false);
  });

  it('restarts a container whose image has changed, and only that', () => {
    const pod = makePod({ containers: [makeContainer('a', { image: 'example.test/app:2' }), makeContainer('b')] });
    const runtime = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('a'), makeRuntimeContainer('b')]);
    assert.deepEqual(short(plan(pod, runtime)), ['kill a', 'start a#1']);
  });

  it('kills what fails its liveness or startup probe', () => {
    const runtime = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('main')]);
    assert.deepEqual(short(plan(makePod(), runtime, { livenessFailed: () => true })), ['kill main']);
    assert.deepEqual(short(plan(makePod(), runtime, { startupProbe: () => 'failure' })), ['kill main']);
  });

  it('takes away a container that was created but never started', () => {
    const runtime = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('main', { state: 'created' })]);
    assert.deepEqual(short(plan(makePod(), runtime)), ['remove main', 'start main#0']);
  });
});

describe('planPod with init containers', () => {
  it('runs them one after another, then the apps', () => {
    const pod = makePod(inits);
    const sandbox = makeSandbox();
    assert.deepEqual(short(plan(pod, makeRuntimePod([sandbox]))), ['start i1#0']);
    assert.deepEqual(short(plan(pod, makeRuntimePod([sandbox], [makeRuntimeContainer('i1')]))), []);
    assert.deepEqual(short(plan(pod, makeRuntimePod([sandbox], [makeEnded('i1', 0)]))), ['start i2#0']);
    const done = [makeEnded('i2', 0), makeEnded('i1', 0)];
    assert.deepEqual(short(plan(pod, makeRuntimePod([sandbox], done))), ['start main#0']);
  });

  it('tries one that failed again, or ends the pod when the policy is Never', () => {
    const runtime = makeRuntimePod([makeSandbox()], [makeEnded('i1', 1)]);
    assert.deepEqual(short(plan(makePod(inits), runtime)), ['start i1#1']);
    assert.equal(plan(makePod({ ...inits, restartPolicy: 'Never' }), runtime).finished, true);
  });

  it('does not run them again when their remains have been removed', () => {
    const runtime = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('main')]);
    assert.deepEqual(short(plan(makePod(inits), runtime)), []);
    assert.deepEqual(short(plan(makePod(inits), makeRuntimePod([makeSandbox()], [makeEnded('i2', 0)]))), [
      'start main#0',
    ]);
  });

  it('runs them again in a new sandbox', () => {
    const old = makeEnded('i1', 0, { sandboxId: 'sandbox-0' });
    const runtime = makeRuntimePod([makeSandbox({ id: 'sandbox-1', attempt: 1 })], [old]);
    assert.deepEqual(short(plan(makePod(inits), runtime)), ['start i1#1']);
  });

  it('waits for a sidecar to have started, and keeps it running', () => {
    const pod = makePod({ initContainers: [sidecar('s'), makeContainer('i')] });
    const sandbox = makeSandbox();
    const running = makeRuntimePod([sandbox], [makeRuntimeContainer('s')]);
    assert.deepEqual(short(plan(pod, makeRuntimePod([sandbox]))), ['start s#0']);
    assert.deepEqual(short(plan(pod, running, { startupProbe: () => 'pending' })), []);
    assert.deepEqual(short(plan(pod, running)), ['start i#0']);
    const crashed = makeRuntimePod([sandbox], [makeRuntimeContainer('main'), makeEnded('s', 0)]);
    assert.deepEqual(short(plan(pod, crashed)), ['start s#1']);
  });

  it('is finished when the apps have ended though sidecars run', () => {
    const pod = makePod({ restartPolicy: 'Never', initContainers: [sidecar('s')] });
    const runtime = makeRuntimePod([makeSandbox()], [makeEnded('main', 0), makeRuntimeContainer('s')]);
    assert.equal(plan(pod, runtime).finished, true);
  });
});

describe('what the runtime has lost', () => {
  const ended = (exitCode: number) => ({ known: () => ({ started: true, exitCode }) });

  it('does not run again what is known to have ended for good', () => {
    const pod = makePod({ restartPolicy: 'Never', ...two });
    const runtime = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('b')]);
    assert.deepEqual(short(plan(pod, runtime, ended(0))), []);
    assert.equal(plan(pod, makeRuntimePod(), ended(0)).finished, true);
  });

  it('starts anew what is to run always', () => {
    assert.deepEqual(short(plan(makePod(), makeRuntimePod([makeSandbox()]), ended(1))), ['start main#0']);
  });

  it('does not start an ephemeral container twice', () => {
    const pod = makePod({ ephemeralContainers: [{ name: 'debug', image: 'example.test/app:1' }] });
    const runtime = makeRuntimePod([makeSandbox()], [makeRuntimeContainer('main')]);
    assert.deepEqual(short(plan(pod, runtime, { known: (name) => ({ started: name === 'debug' }) })), []);
  });
});

describe('rules of restart', () => {
  const ruled = (action: string, operator = 'In') =>
    makeContainer('a', {
      restartPolicy: 'Never',
      restartPolicyRules: [{ action, exitCodes: { operator, values: [42] } }],
    });
  const runtime = (exitCode: number) =>
    makeRuntimePod([makeSandbox()], [makeEnded('a', exitCode), makeRuntimeContainer('b'), makeEnded('b', 1)]);

  it('restart one container by its exit code', () => {
    const pod = makePod({ restartPolicy: 'Never', containers: [ruled('Restart'), makeContainer('b')] });
    assert.deepEqual(short(plan(pod, runtime(42))), ['start a#1']);
    assert.deepEqual(short(plan(pod, runtime(1))), []);
    const other = makePod({ restartPolicy: 'Never', containers: [ruled('Restart', 'NotIn'), makeContainer('b')] });
    assert.deepEqual(short(plan(other, runtime(1))), ['start a#1']);
  });

  it('restart all containers, the one that asks for it being removed last', () => {
    const pod = makePod({ restartPolicy: 'Never', containers: [ruled('RestartAllContainers'), makeContainer('b')] });
    assert.deepEqual(short(plan(pod, runtime(42))), ['restart-all b b a']);
    assert.deepEqual(short(plan(pod, makeRuntimePod([makeSandbox()], []))), ['start a#0', 'start b#0']);
    const waits = plan(pod, runtime(42), { crashBackoff: () => ({ remainingMs: 5000, delayMs: 10_000 }) });
    assert.deepEqual([waits.steps.length, waits.againInMs, waits.crashLooping.get('a')], [0, 5000, 10_000]);
  });
});

describe('ephemeral containers and history', () => {
  it('starts an ephemeral container once', () => {
    const pod = makePod({ ephemeralContainers: [{ name: 'debug', image: 'example.test/app:1' }] });
    const main = makeRuntimeContainer('main');
    assert.deepEqual(short(plan(pod, makeRuntimePod([makeSandbox()], [main]))), ['start debug#0']);
    assert.deepEqual(short(plan(pod, makeRuntimePod([makeSandbox()], [makeEnded('debug', 1), main]))), []);
  });

  it('keeps the newest dead container of each name', () => {
    const runtime = makeRuntimePod(
      [],
      [
        makeRuntimeContainer('a', { restartCount: 3 }),
        makeEnded('a', 1, { restartCount: 2 }),
        makeEnded('a', 1, { restartCount: 1 }),
      ],
    );
    assert.deepEqual(
      removableContainers(runtime).map((step) => step.kind === 'remove-container' && step.container.id),
      ['a-1'],
    );
  });
});

describe('planPod with a resize', () => {
  const pod = makePod({ containers: [makeContainer('a'), makeContainer('b'), makeContainer('c')] });
  const running = makeRuntimePod(
    [makeSandbox()],
    ['a', 'b'].map((name) => makeRuntimeContainer(name)),
  );

  it('ends what is to be restarted, resizes, and starts afterwards', () => {
    const resize: PlanInput['resize'] = ({ name }) => (name === 'b' ? 'restart' : 'update');
    assert.deepEqual(short(plan(pod, running, { resize })), ['kill b', 'resize', 'start b#1', 'start c#0']);
  });

  it('waits after a failure, and lets the others go on', () => {
    const changes = { podResize: true, retryInMs: (what: string) => (what === 'resize' ? 700 : 0) };
    const result = plan(pod, running, changes);
    assert.deepEqual(short(result), ['start c#0']);
    assert.equal(result.againInMs, 700);
  });
});
