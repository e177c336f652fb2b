import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Signal } from '../../api/cri/index.ts';
import { signalNumber, stopSignalOf } from './stop-signal.ts';

const ofImage = (stopSignal: string): string => stopSignalOf({ stopSignal: Signal.RUNTIME_DEFAULT }, { stopSignal });

test('the signal of the CRI goes before that of the image', () => {
  assert.equal(stopSignalOf({ stopSignal: Signal.SIGRTMINPLUS3 }, { stopSignal: 'SIGUSR1' }), 'SIGRTMIN+3');
  assert.equal(stopSignalOf({ stopSignal: Signal.SIGCLD }, { stopSignal: '' }), 'SIGCLD');
  assert.equal(signalNumber('SIGCLD'), 17);
});

test('images name signals by name, by short name and by number', () => {
  assert.deepEqual(['', 'quit', 'SIGINT', '15', '37', '60'].map(ofImage), [
    'SIGTERM',
    'SIGQUIT',
    'SIGINT',
    'SIGTERM',
    'SIGRTMIN+3',
    'SIGRTMAX-4',
  ]);
  for (const bad of ['SIGNO', '0', '99', 'RTMIN+40']) assert.throws(() => ofImage(bad), /is not known/);
});

test('every signal of the CRI can be sent', () => {
  for (const name of Object.keys(Signal).filter((one) => /^SIG/.test(one))) {
    const stopSignal = Signal[name as keyof typeof Signal];
    assert.ok(signalNumber(stopSignalOf({ stopSignal }, { stopSignal: '' })), name);
  }
});
