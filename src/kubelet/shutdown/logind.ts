import { closeSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../async/index.ts';
import { BusConnection, type BusTarget } from '../../host/dbus/index.ts';

const logind: BusTarget = {
  destination: 'org.freedesktop.login1',
  path: '/org/freedesktop/login1',
  interface: 'org.freedesktop.login1.Manager',
};
const properties = { ...logind, interface: 'org.freedesktop.DBus.Properties' };
const systemd: BusTarget = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
};

/** What a session with logind needs. */
export interface LogindOptions {
  /** Address of the system bus. */
  address: string;
  /** Where drop-ins of logind's configuration are: `/etc/systemd/logind.conf.d`. */
  configurationDirectory: string;
  clock: Clock;
  /** The machine is about to be shut down (true), or that was called off (false). */
  onShutdown(is: boolean): void;
  /** The bus has gone. */
  onEnd(error: Error): void;
}

/** Delays the shutdown of the machine through logind's inhibitor, and hears of it. */
export class Logind {
  readonly #bus: BusConnection;
  readonly #options: LogindOptions;
  #lock: number | undefined;

  private constructor(bus: BusConnection, options: LogindOptions) {
    this.#bus = bus;
    this.#options = options;
    bus.onEnd = options.onEnd;
    bus.onSignal = ({ interface: from, member, body }) => {
      if (from === logind.interface && member === 'PrepareForShutdown') options.onShutdown(body[0] === true);
    };
  }

  /** Connects, has logind wait for as long as is needed, and takes the inhibitor. @throws Error saying what stands in the way */
  static async open(neededMs: number, options: LogindOptions): Promise<Logind> {
    const bus = await BusConnection.open(options.address, options.clock);
    const session = new Logind(bus, options);
    try {
      if ((await session.#delayMs()) < neededMs) await session.#lengthen(neededMs);
      await bus.match(
        `type='signal',interface='${logind.interface}',member='PrepareForShutdown',path='${logind.path}'`,
      );
      await session.hold();
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** Takes the inhibitor (anew). */
  async hold(): Promise<void> {
    const body = ['shutdown', 'kubelet', 'Kubelet needs time to handle node shutdown', 'delay'];
    const { descriptors, body: answer } = await this.#bus.call(logind, 'Inhibit', 'ssss', body);
    const lock = descriptors[Number(answer[0] ?? 0)];
    if (lock === undefined) throw new Error('logind gave no inhibitor');
    this.release();
    this.#lock = lock;
  }

  /** Lets the shutdown go on. */
  release(): void {
    if (this.#lock !== undefined) closeSync(this.#lock);
    this.#lock = undefined;
  }

  close(): void {
    this.release();
    this.#bus.close();
  }

  async #delayMs(): Promise<number> {
    const { body } = await this.#bus.call(properties, 'Get', 'ss', [logind.interface, 'InhibitDelayMaxUSec']);
    return Number((body[0] as { value: bigint }).value) / 1000;
  }

  /** Writes a drop-in, and has logind read it: systemd sends it a SIGHUP. */
  async #lengthen(neededMs: number): Promise<void> {
    const { configurationDirectory, clock } = this.#options;
    await mkdir(configurationDirectory, { recursive: true, mode: 0o755 });
    const seconds = Math.ceil(neededMs / 1000);
    const text = `# Written by the kubelet: shutdownGracePeriod needs it.\n[Login]\nInhibitDelayMaxSec=${seconds}\n`;
    await writeFile(join(configurationDirectory, '99-kubelet.conf'), text, { mode: 0o644 });
    await this.#bus.call(systemd, 'KillUnit', 'ssi', ['systemd-logind.service', 'all', 1]);
    for (let waitMs = 100; waitMs <= 1600; waitMs *= 2) {
      if ((await this.#delayMs()) >= neededMs) return;
      await clock.sleep(waitMs);
    }
    const is = (await this.#delayMs()) / 1000;
    throw new Error(
      `logind waits for ${is} s at most (InhibitDelayMaxSec), and ${seconds} s are needed: raise it in logind.conf`,
    );
  }
}
