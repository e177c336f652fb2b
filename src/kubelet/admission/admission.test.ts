import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PodFailure } from '../pods/pod-record.ts';
import { makePod } from '../testing/pods.ts';
import { type AdmitHandler, createAdmission } from './admission.ts';

function handler(name: string, log: string[], answer?: PodFailure | Error): AdmitHandler {
  return {
    name,
    admit: (pod) => {
      log.push(`${name} admits ${pod.metadata.uid}`);
      if (answer instanceof Error) throw answer;
      return answer;
    },
    adopt: (pod) => void log.push(`${name} adopts ${pod.metadata.uid}`),
    release: (uid) => void log.push(`${name} releases ${uid}`),
  };
}

describe('admission', () => {
  it('asks in order, and frees what was set aside when a later one refuses', async () => {
    const log: string[] = [];
    const refusal = { reason: 'OutOfcpu', message: 'no more' };
    const admission = createAdmission([handler('a', log), handler('b', log, refusal), handler('c', log)]);
    const failure = await admission.admit(
      makePod(),
      () => [],
      () => log.push('admitted'),
    );
    assert.deepEqual(failure, { reason: 'OutOfcpu', message: 'Pod was rejected: no more' });
    assert.deepEqual(log, ['a admits uid-1', 'b admits uid-1', 'a releases uid-1', 'b releases uid-1']);
  });

  it('makes an error a refusal', async () => {
    const admission = createAdmission([handler('a', [], new Error('broken'))]);
    assert.deepEqual(
      await admission.admit(
        makePod(),
        () => [],
        () => {},
      ),
      { reason: 'UnexpectedAdmissionError', message: 'Pod was rejected: broken' },
    );
  });

  it('asks about one pod at a time, so that the next sees what the one before was given', async () => {
    const taken: string[] = [];
    const slow: AdmitHandler = {
      name: 'slow',
      admit: async (_pod, others) => {
        const seen = others.length;
        await Promise.resolve();
        return seen > 0 ? { reason: 'OutOfpods', message: '' } : undefined;
      },
    };
    const admission = createAdmission([slow]);
    const ask = (uid: string) =>
      admission.admit(
        makePod({}, { uid }),
        () => taken.map((one) => makePod({}, { uid: one })),
        () => taken.push(uid),
      );
    const answers = await Promise.all([ask('1'), ask('2')]);
    assert.deepEqual(
      answers.map((one) => one?.reason),
      [undefined, 'OutOfpods'],
    );
  });
});
