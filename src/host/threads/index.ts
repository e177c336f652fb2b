export { ThreadError, Threads, type ThreadsOptions } from './threads.ts';
