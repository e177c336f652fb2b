export { Call, currentCall, type Stage, stage, withinCall } from './call.ts';
export { type Caller, CallLog } from './call-log.ts';
export { Flights } from './flights.ts';
export { traceService } from './trace-service.ts';
export { TracedRunner } from './traced-runner.ts';
