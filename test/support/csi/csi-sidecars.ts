import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Cluster } from '../cluster.ts';
import { start } from '../processes.ts';
import type { CsiDriver } from './csi-driver.ts';

/** The sidecars of a driver (provisioner, attacher, resizer), in the cluster's network namespace. Ends with its scope. */
export class CsiSidecars implements Disposable {
  readonly #child: ChildProcess;
  /** What they have complained about. */
  complaints = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr!.setEncoding('utf8').on('data', (part: string) => {
      this.complaints += part;
    });
  }

  /** Starts them and waits until they watch. */
  static async start(cluster: Cluster, driver: CsiDriver): Promise<CsiSidecars> {
    const script = join(import.meta.dirname, 'sidecars-process.ts');
    const kubeconfig = join(cluster.dataDirectory, 'admin.conf');
    const argv = [process.execPath, '--disable-warning=ExperimentalWarning', script];
    const child = start([...cluster.namespace.enter(), ...argv, kubeconfig, driver.socket, driver.name]);
    const sidecars = new CsiSidecars(child);
    await new Promise<void>((resolve, reject) => {
      child.stdout!.once('data', () => resolve());
      child.once('exit', () => reject(new Error(`the sidecars have ended: ${sidecars.complaints}`)));
    });
    return sidecars;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
