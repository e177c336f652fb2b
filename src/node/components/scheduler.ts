import { startScheduler } from '../../controlplane/index.ts';
import { defineComponent } from '../component-module.ts';
import { clientFlags, clientFrom, commonFlags } from './common.ts';

export default defineComponent({
  name: 'scheduler',
  summary: 'Finds a node for each pod.',
  flags: {
    ...clientFlags,
    'scheduler-name': {
      type: 'string',
      value: 'NAME',
      default: 'default-scheduler',
      help: 'pods with this schedulerName are ours',
    },
    ...commonFlags,
  },
  async start(values, context) {
    return startScheduler(
      { client: await clientFrom(values, 'scheduler', context), schedulerName: values['scheduler-name'] },
      context,
    );
  },
});
