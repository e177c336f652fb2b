/** Debian's Docker Engine, through cri-docker. */
import { CriDocker } from '../../support/cri-docker.ts';
import { DockerEngine, dockerMissing } from '../../support/docker-engine.ts';
import { foreignRuntimeSuite } from './foreign-runtime.ts';

foreignRuntimeSuite({
  name: 'docker',
  purpose: 'dkr',
  skip: dockerMissing,
  cniBridge: false,
  start: async (namespace, { podCidr }) => {
    const engine = await DockerEngine.start(namespace);
    const adapter = await CriDocker.start(namespace, engine, podCidr);
    return {
      endpoint: adapter.endpoint,
      directory: adapter.directory,
      load: async (file) => {
        const { status, stderr } = await engine.docker('load', '--input', file);
        if (status !== 0) throw new Error(stderr);
      },
      remains: async () => (await engine.docker('ps', '--all', '--quiet')).stdout.split('\n').filter(Boolean),
      [Symbol.asyncDispose]: async () => {
        await adapter[Symbol.asyncDispose]();
        await engine[Symbol.asyncDispose]();
      },
    };
  },
});
