import { SerialRunner } from '../../async/index.ts';
import { stage } from './call.ts';

/** Runs tasks one after another per key; waiting for those before is a stage of the call that waits. */
export class TracedRunner extends SerialRunner {
  override run<T>(key: string, task: () => Promise<T> | T): Promise<T> {
    if (!this.busy(key)) return super.run(key, task);
    const turn = Promise.withResolvers<void>();
    void stage('its turn at', () => turn.promise, key);
    return super.run(key, () => {
      turn.resolve();
      return task();
    });
  }
}
