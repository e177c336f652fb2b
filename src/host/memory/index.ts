export { releaseMemory } from './release-memory.ts';
