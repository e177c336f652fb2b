/** CRI-O, built from its source; the environment variable CRIO names the program, with pinns beside it. */
import { Crio, crioMissing } from '../../support/crio.ts';
import { foreignRuntimeSuite } from './foreign-runtime.ts';

foreignRuntimeSuite({
  name: 'cri-o',
  purpose: 'crio',
  skip: crioMissing,
  cniBridge: true,
  start: async (namespace, options) => {
    const crio = await Crio.start(namespace, options);
    return {
      endpoint: crio.endpoint,
      directory: crio.directory,
      load: async (file) => {
        for (const name of ['example.test/pause:v1', 'example.test/web:v1']) await crio.load(file, name);
      },
      remains: () => crio.remains(),
      [Symbol.asyncDispose]: () => crio[Symbol.asyncDispose](),
    };
  },
});
