/**
 * The runtime is killed, or a step of it fails, at every fault point of every call; what is there afterwards must agree
 * with what it says, the call can be made again, and in the end nothing is left.
 */
import assert from 'node:assert/strict';
import { readFile, rename } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { ContainerState, NamespaceMode, PodSandboxState } from '../../src/api/cri/index.ts';
import { pollUntil } from '../../src/async/index.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { faultPointsIn, RuntimeUnderTest } from '../support/runtime-under-test.ts';

let runtime: RuntimeUnderTest;
let registry: FaultyRegistry;
/** What is there when there are no pods. */
let empty: string[];
let pods = 0;

before(async () => {
  runtime = await RuntimeUnderTest.create('survival');
  registry = await FaultyRegistry.start(runtime.namespace);
  // One pod makes what stays: the bridge, the cgroup above all.
  await new Life().toTheEnd();
  await runtime.images.removeImage({ image: { image: registry.image('good') } });
  empty = await runtime.inventory();
});

after(async () => {
  await registry?.[Symbol.asyncDispose]();
  await runtime?.[Symbol.asyncDispose]();
});

const polite = ['sh', '-c', "trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done"];
const stubborn = ['sh', '-c', "trap '' TERM; echo up; while :; do sleep 0.02; done"];

/** A pod's life as a client sees it: every call of it in order. Each step finds out by itself what is done already. */
class Life {
  readonly number = ++pods;
  readonly config = {
    metadata: { name: `pod${this.number}`, namespace: 'default', uid: `uid${this.number}`, attempt: 0 },
    hostname: 'pod',
    logDirectory: `${runtime.base}/logs`,
    portMappings: [{ protocol: 0, containerPort: 80, hostPort: 8000 + this.number, hostIp: '' }],
    // A shared PID namespace, so that there is a holder.
    linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } },
  };
  sandboxId = '';
  readonly ids = new Map<string, string>();
  readonly image = registry.image('good');

  /** Step name → what it does. */
  readonly steps: readonly [string, () => Promise<unknown>][] = [
    ['pull', () => runtime.images.pullImage({ image: { image: this.image } })],
    ['run sandbox', () => this.#runSandbox()],
    ['create polite', () => this.#create('polite', polite)],
    ['create stubborn', () => this.#create('stubborn', stubborn)],
    ['create broken', () => this.#create('broken', ['/no/such/program'])],
    ['start polite', () => this.#start('polite')],
    ['start stubborn', () => this.#start('stubborn')],
    ['start broken', () => this.#startBroken()],
    ['exec', () => runtime.cri.execSync({ containerId: this.#id('polite'), cmd: ['echo', 'hi'], timeout: 10n })],
    [
      'update',
      () =>
        runtime.cri.updateContainerResources({
          containerId: this.#id('polite'),
          linux: { memoryLimitInBytes: 64n << 20n },
        }),
    ],
    ['reopen log', () => this.#reopenLog('polite')],
    ['stop polite', () => this.#stop('polite', 10n, 7)],
    ['stop stubborn', () => this.#stop('stubborn', 0n, 137)],
    ['remove polite', () => runtime.cri.removeContainer({ containerId: this.#id('polite') })],
    ['stop sandbox', () => runtime.cri.stopPodSandbox({ podSandboxId: this.sandboxId })],
    ['remove sandbox', () => runtime.cri.removePodSandbox({ podSandboxId: this.sandboxId })],
    ['remove image', () => runtime.images.removeImage({ image: { image: this.image } })],
  ];

  /** Does the steps from a position on. @returns the position of the step that failed; undefined when all are done */
  async from(position: number): Promise<{ position: number; error: Error } | undefined> {
    for (let at = position; at < this.steps.length; at++) {
      try {
        await this.steps[at]![1]();
      } catch (error) {
        return { position: at, error: error as Error };
      }
    }
    return undefined;
  }

  /** Does one step again, and then what takes the pod away; what ran is asked for its exit code. */
  async finish(position: number): Promise<void> {
    const again = this.#position('start polite');
    const stop = this.#position('stop polite');
    const rest = [stop, this.#position('remove sandbox'), this.#position('remove image')];
    const wanted = rest.filter((at) => at > position && (at !== stop || position >= again));
    for (const at of [position, ...wanted]) {
      const [name, step] = this.steps[at]!;
      await step().catch((cause: unknown) => {
        throw new Error(`step "${name}" after the restart`, { cause });
      });
    }
  }

  #position(name: string): number {
    return this.steps.findIndex(([one]) => one === name);
  }

  async toTheEnd(): Promise<void> {
    const failed = await this.from(0);
    if (failed) throw new Error(`step "${this.steps[failed.position]![0]}"`, { cause: failed.error });
  }

  /** Agrees with itself: what is listed can be asked for, running containers are in ready sandboxes with their process. */
  static async checkAgreement(): Promise<void> {
    const { items } = await runtime.cri.listPodSandbox({});
    for (const { id } of items) await runtime.cri.podSandboxStatus({ podSandboxId: id });
    const { containers } = await runtime.cri.listContainers({});
    for (const { id, podSandboxId, state } of containers) {
      const { status } = await runtime.cri.containerStatus({ containerId: id });
      assert.equal(status!.state, state);
      const sandbox = items.find((one) => one.id === podSandboxId);
      assert.ok(sandbox, `container ${id} has no sandbox`);
      if (state !== ContainerState.CONTAINER_RUNNING) continue;
      assert.equal(sandbox.state, PodSandboxState.SANDBOX_READY);
      await checkAlive(id);
    }
  }

  /** As the kubelet does after a failed call: a sandbox of this name that is ready is taken, else it is made. */
  async #runSandbox(): Promise<void> {
    const { items } = await runtime.cri.listPodSandbox({});
    const own = items.find(({ metadata }) => metadata?.uid === this.config.metadata.uid);
    if (own) {
      assert.equal(own.state, PodSandboxState.SANDBOX_READY);
      this.sandboxId = own.id;
    } else this.sandboxId = (await runtime.cri.runPodSandbox({ config: this.config })).podSandboxId;
  }

  async #create(name: string, command: string[]): Promise<void> {
    const { containers } = await runtime.cri.listContainers({ filter: { podSandboxId: this.sandboxId } });
    const own = containers.find(({ metadata }) => metadata?.name === name);
    const config = {
      metadata: { name, attempt: 0 },
      image: { image: this.image },
      command,
      logPath: `pod${this.number}-${name}.log`,
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD }, seccomp: {} } },
    };
    const request = { podSandboxId: this.sandboxId, config, sandboxConfig: this.config };
    this.ids.set(name, own?.id ?? (await runtime.cri.createContainer(request)).containerId);
  }

  /** A start that nobody was told of may have happened, or have failed for good: then a new attempt is made. */
  async #start(name: string): Promise<void> {
    const command = name === 'polite' ? polite : stubborn;
    // Not there when it was removed for a new attempt, which was not made.
    await this.#create(name, command);
    const { status } = await runtime.cri.containerStatus({ containerId: this.#id(name) });
    if (status!.state === ContainerState.CONTAINER_RUNNING) return;
    if (status!.state === ContainerState.CONTAINER_EXITED) {
      assert.deepEqual([status!.exitCode, status!.reason], [128, 'StartError']);
      await runtime.cri.removeContainer({ containerId: this.#id(name) });
      await this.#create(name, command);
    }
    await runtime.cri.startContainer({ containerId: this.#id(name) });
    // Only when it has set its trap up is a signal what the container makes of it.
    const log = `${this.config.logDirectory}/pod${this.number}-${name}.log`;
    const up = async (): Promise<boolean> => (await readFile(log, 'utf8').catch(() => '')).includes('up');
    await pollUntil('the first line of the log', up, { timeoutMs: 10_000, intervalMs: 5 });
  }

  async #reopenLog(name: string): Promise<void> {
    const log = `${this.config.logDirectory}/pod${this.number}-${name}.log`;
    // Already moved when the step is done again.
    await rename(log, `${log}.1`).catch(() => {});
    await runtime.cri.reopenContainerLog({ containerId: this.#id(name) });
  }

  async #startBroken(): Promise<void> {
    const containerId = this.#id('broken');
    const { status } = await runtime.cri.containerStatus({ containerId });
    if (status!.state === ContainerState.CONTAINER_CREATED)
      await runtime.cri.startContainer({ containerId }).then(
        () => assert.fail('a program that is not there was started'),
        (error: Error) => {
          if (!/no such file/.test(error.message)) throw error;
        },
      );
    const after = (await runtime.cri.containerStatus({ containerId })).status!;
    assert.deepEqual([after.state, after.exitCode, after.reason], [ContainerState.CONTAINER_EXITED, 128, 'StartError']);
  }

  async #stop(name: string, timeout: bigint, exitCode: number): Promise<void> {
    const containerId = this.#id(name);
    await runtime.cri.stopContainer({ containerId, timeout });
    const { status } = await runtime.cri.containerStatus({ containerId });
    assert.deepEqual([status!.state, status!.exitCode], [ContainerState.CONTAINER_EXITED, exitCode]);
  }

  #id(name: string): string {
    return this.ids.get(name)!;
  }
}

/** A running container answers, or is soon taken down as ended: it may have been killed, and a fault may be in the way. */
async function checkAlive(containerId: string): Promise<void> {
  const settled = async (): Promise<boolean> => {
    const command = { containerId, cmd: ['echo', 'alive'], timeout: 10n };
    const answer = await runtime.cri.execSync(command).catch(() => undefined);
    if (answer) return Buffer.from(answer.stdout).toString() === 'alive\n';
    return (await runtime.cri.containerStatus({ containerId })).status!.state === ContainerState.CONTAINER_EXITED;
  };
  await pollUntil('an answer or the end', settled, { timeoutMs: 10_000, intervalMs: 50 });
}

/** Runs a case; when it fails, takes away what it left, so that the next one is not to be blamed. */
async function cleanly(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    await runtime.end('SIGTERM');
    await runtime.start();
    const { items } = await runtime.cri.listPodSandbox({});
    for (const { id } of items) await runtime.cri.removePodSandbox({ podSandboxId: id });
    await runtime.images.removeImage({ image: { image: registry.image('good') } });
    empty.push(...(await runtime.inventory()));
    throw cause;
  }
}

/** Nothing of a pod is left. */
async function checkNothingLeft(what: string): Promise<void> {
  // What the kernel takes away by itself (processes that were killed) may need a moment.
  let left: string[] = [];
  const gone = async (): Promise<boolean> => {
    left = (await runtime.inventory()).filter((line) => !empty.includes(line));
    return left.length === 0;
  };
  await pollUntil('the end of all', gone, { timeoutMs: 3000, intervalMs: 50 }).catch(() =>
    assert.fail(`left after ${what}:\n${left.join('\n')}`),
  );
}

const points = faultPointsIn('runtime');
/** Points of the start of the runtime, which need something to adopt. */
const startPoints = points.filter((name) => name.startsWith('adopt:'));
/** Points that this life does not pass: other tests do (those of CNI in runtime-cni.test.ts). */
const elsewhere: readonly string[] = points.filter((name) => name.startsWith('cni-'));
const callPoints = points.filter((name) => !startPoints.includes(name) && !elsewhere.includes(name));

test('kill -9 at each step of each call', async (t) => {
  for (const name of callPoints) {
    await t.test(name, () =>
      cleanly(async () => {
        const life = new Life();
        await runtime.arm(`${name}=kill`);
        const failed = await life.from(0);
        // Some steps are taken after the answer: then the runtime dies a moment after the call.
        if (!failed && runtime.running)
          await pollUntil('the death of the runtime', () => !runtime.running, { timeoutMs: 3000, intervalMs: 5 }).catch(
            () => assert.fail(`no call passes the fault point ${name}`),
          );
        await runtime.ended();
        assert.ok(await runtime.start(), `does not start again:\n${runtime.log.slice(-5).join('\n')}`);
        await Life.checkAgreement();
        if (failed) await life.finish(failed.position);
        await checkNothingLeft(name);
      }),
    );
  }
});

test('steps that fail, in every call: it can be made again until it is done', async () => {
  // Each point goes off once, so one life passes many; in a few lives they do not hide one another.
  const lives = 4;
  for (let number = 0; number < lives; number++) {
    await cleanly(async () => {
      const chosen = callPoints.filter((_, index) => index % lives === number);
      await runtime.arm(chosen.map((name, index) => `${name}=${index % 2 === 0 ? 'error' : 'enospc'}`).join(','));
      const life = new Life();
      let failures = 0;
      for (let failed = await life.from(0); failed; failed = await life.from(failed.position)) {
        if (++failures > chosen.length)
          throw new Error(`${life.steps[failed.position]![0]} fails for good`, { cause: failed.error });
        await Life.checkAgreement();
      }
      assert.deepEqual(await runtime.arm(''), [], 'no call passes these fault points');
      await checkNothingLeft('failures');
    });
  }
});

test('kill -9 at each step of a start that has something to clean up', async (t) => {
  for (const name of startPoints) {
    await t.test(name, () =>
      cleanly(async () => {
        // Three lives that end at different places: all of what a start has to do.
        const lives = [new Life(), new Life(), new Life()];
        for (const [life, steps] of [
          [lives[0]!, 2],
          [lives[1]!, 8],
        ] as const)
          for (const [, step] of life.steps.slice(0, steps)) await step();
        await runtime.arm('run-sandbox:network=kill');
        assert.ok(await lives[2]!.from(0));
        await runtime.ended();
        assert.equal(await runtime.start({ faults: `${name}=kill` }), false, 'the start passed the fault point alive');
        await runtime.ended();
        assert.ok(await runtime.start());
        await Life.checkAgreement();
        for (const [life, position] of [
          [lives[0]!, 2],
          [lives[1]!, 8],
          [lives[2]!, 1],
        ] as const) {
          // Those before have removed the image.
          await life.steps[0]![1]();
          const failed = await life.from(position);
          if (failed) throw new Error(life.steps[failed.position]![0], { cause: failed.error });
        }
        await checkNothingLeft(name);
      }),
    );
  }
});
