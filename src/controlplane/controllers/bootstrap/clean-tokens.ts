import { resources } from '../../../api/index.ts';
import type { Timer } from '../../../async/index.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
} from '../framework/controller.ts';
import { followTokens, readToken } from './tokens.ts';

/** Removes bootstrap tokens when their time is over. */
export function startTokenCleaner(context: ControllerContext): Controller {
  const { clock, client } = context;
  const timers = new Map<string, Timer>();
  const forget = (key: string): void => {
    timers.get(key)?.cancel();
    timers.delete(key);
  };
  const queue = createControllerQueue(context, {
    name: 'tokencleaner',
    stores: [],
    handle: async (key) => {
      forget(key);
      const secret = secrets.get(key);
      const expiration = readToken(secret)?.expiration;
      if (!secret || expiration === undefined) return;
      const leftMs = expiration - clock.now();
      if (leftMs <= 0) {
        const { namespace = '', name, uid } = secret.metadata;
        await client.delete(resources.secrets, name, { namespace, uid });
      }
      // Longer waits than a day are cut: clocks of machines are set.
      else
        timers.set(
          key,
          clock.after(Math.min(leftMs, 86_400_000), () => queue.add(key)),
        );
    },
  });
  const secrets = followTokens(context, (key) => queue.add(key));
  return controllerOfParts([queue], [() => secrets.stop(), () => [...timers.keys()].forEach(forget)]);
}
