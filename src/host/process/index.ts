export { type OpenFileLimit, setOpenFileLimit, setOwnOomScore } from './own-process.ts';
