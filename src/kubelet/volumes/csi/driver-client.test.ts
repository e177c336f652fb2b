import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { NodeServiceCapability_RPC_Type as Ability, Node } from '../../../api/csi/index.ts';
import { systemClock } from '../../../async/index.ts';
import { GrpcError, type GrpcServer, grpcService, serveGrpc } from '../../../wire/grpc/index.ts';
import { DriverClient } from './driver-client.ts';
import { highestVersion } from './driver-registry.ts';
import type { CsiCallError } from './errors.ts';

let directory: string;
let server: GrpcServer;
let abilities: (keyof typeof Ability)[] = [];
let asked = 0;
const modes: number[] = [];

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dh-csi-client-'));
  server = await serveGrpc(join(directory, 'csi.sock'), [
    grpcService(Node, {
      nodeGetCapabilities: () => {
        asked++;
        return { capabilities: abilities.map((name) => ({ type: { case: 'rpc', value: { type: Ability[name] } } })) };
      },
      nodeStageVolume: ({ volumeId, volumeCapability }, { signal }) => {
        modes.push(volumeCapability?.accessMode?.mode ?? -1);
        if (volumeId === 'bad') throw new GrpcError('INVALID_ARGUMENT', 'no');
        if (volumeId === 'hangs')
          return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        return {};
      },
    }),
  ]);
});
after(async () => {
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

const ended: string[] = [];
const client = (timeoutMs?: number) =>
  new DriverClient('d', join(directory, 'csi.sock'), {
    ...{ clock: systemClock, timeoutMs },
    onCall: ({ driver, method, code }) => ended.push(`${driver} ${method} ${code}`),
  });
const stage = (volumeId: string, accessMode = 'ReadWriteOnce') => ({
  ...{ volumeId, stagingTargetPath: '/x', publishContext: {}, volumeContext: {}, secrets: {} },
  use: { accessMode },
});

test('what a driver can do is asked once', async () => {
  abilities = ['STAGE_UNSTAGE_VOLUME'];
  asked = 0;
  const driver = client();
  assert.equal(await driver.can('STAGE_UNSTAGE_VOLUME'), true);
  assert.equal(await driver.can('EXPAND_VOLUME'), false);
  assert.equal(asked, 1);
  driver.close();
});

test('access modes by what the driver knows', async () => {
  const sent = async (able: boolean): Promise<number[]> => {
    abilities = able ? ['SINGLE_NODE_MULTI_WRITER'] : [];
    modes.length = 0;
    const driver = client();
    for (const mode of ['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod', 'Other'])
      await driver.stage(stage('v', mode));
    driver.close();
    return [...modes];
  };
  assert.deepEqual(await sent(true), [7, 3, 5, 6, 0]);
  assert.deepEqual(await sent(false), [1, 3, 5, 1, 0]);
});

test('an error says whether the driver may still be at work', async () => {
  const driver = client(100);
  const failure = async (volumeId: string, signal?: AbortSignal): Promise<CsiCallError> =>
    driver.stage(stage(volumeId), signal).then(
      () => assert.fail('no error'),
      (error: CsiCallError) => error,
    );
  const refused = await failure('bad');
  assert.equal(refused.message, 'rpc error: code = InvalidArgument desc = no');
  assert.equal(refused.isFinal, true);
  assert.equal(ended.at(-1), 'd NodeStageVolume InvalidArgument');
  const late = await failure('hangs');
  assert.equal(late.code, 'DEADLINE_EXCEEDED');
  assert.equal(late.isFinal, false);
  driver.close();
});

test('a caller whose patience ends leaves the call to its end; one whose pod has gone cuts it short', async () => {
  const driver = client(300);
  const impatient = AbortSignal.timeout(20);
  await assert.rejects(
    driver.stage(stage('hangs'), impatient),
    (error: CsiCallError) => error.code === 'DEADLINE_EXCEEDED',
  );
  const gone = new AbortController();
  const call = driver.stage(stage('hangs'), gone.signal);
  gone.abort(new Error('the pod is deleted'));
  await assert.rejects(call, (error: CsiCallError) => error.code === 'CANCELLED' && !error.isFinal);
  driver.close();
});

test('a driver that is not there is not waited for', async () => {
  const driver = new DriverClient('d', join(directory, 'absent.sock'), { clock: systemClock });
  await assert.rejects(driver.info(), (error: CsiCallError) => error.code === 'UNAVAILABLE');
  driver.close();
});

test('of the versions of a driver the highest 1.x counts', () => {
  assert.deepEqual(highestVersion(['1.0.0', 'v1.12.1', '1.9.0']), [1, 12, 1]);
  assert.equal(highestVersion(['0.3.0', '2.0.0', 'one']), undefined);
});
