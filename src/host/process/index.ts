export { type OpenFileLimit, setOpenFileLimit, setOwnOomScore } from './own-process.ts';
export { ProfileTakenError, takeCpuProfile, takeHeapSnapshot } from './profiles.ts';
