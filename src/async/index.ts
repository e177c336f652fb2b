export { Backoff, type BackoffOptions } from './backoff.ts';
export { type Clock, FakeClock, systemClock, type Timer } from './clock.ts';
export type { Component, StopOptions } from './component.ts';
export { DeadlineError, pollUntil, unlessAborted, withDeadline } from './deadline.ts';
export { armedFaults, armFaults, type FaultAction, FaultError, faultPoint } from './fault-point.ts';
export { KeyedQueue, type KeyedQueueOptions } from './keyed-queue.ts';
export { SerialRunner } from './serial-runner.ts';
export { TokenBucket } from './token-bucket.ts';
export { UndoError, UndoStack } from './undo-stack.ts';
