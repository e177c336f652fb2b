export { releaseInQuietMoments } from './quiet-moments.ts';
export { releaseMemory } from './release-memory.ts';
