export type { DockerSettings } from './docker-context.ts';
export { startDockerRuntime } from './start-docker-runtime.ts';
