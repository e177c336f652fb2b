import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pollUntil, systemClock } from '../../src/async/index.ts';
import { BusConnection, type BusMessage } from '../../src/host/dbus/index.ts';

/** A message bus of its own (Debian's dbus-daemon), with a stand-in for logind and systemd on it. */
export class SystemBus implements AsyncDisposable {
  readonly address: string;
  /** What InhibitDelayMaxSec is, seconds; `reload` is what it becomes when logind is told to read its configuration. */
  delaySeconds = 30;
  onReload: () => number = () => this.delaySeconds;
  /** Calls that were made, by their names. */
  readonly calls: string[] = [];
  readonly #directory: string;
  readonly #daemon: ChildProcess;
  #logind: BusConnection | undefined;
  readonly #readers: number[] = [];

  private constructor(directory: string, daemon: ChildProcess) {
    this.#directory = directory;
    this.#daemon = daemon;
    this.address = `unix:path=${directory}/bus`;
  }

  static async start(): Promise<SystemBus> {
    const directory = await mkdtemp(join(tmpdir(), 'dh-bus-'));
    const file = join(directory, 'bus.conf');
    await writeFile(
      file,
      `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=${directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/>
  </policy>
</busconfig>`,
    );
    const argv = ['--config-file', file, '--nofork', '--nopidfile', '--nosyslog'];
    const bus = new SystemBus(directory, spawn('dbus-daemon', argv, { stdio: ['ignore', 'ignore', 'inherit'] }));
    await bus.startLogind();
    return bus;
  }

  /** Puts the stand-in on the bus (again). */
  async startLogind(): Promise<void> {
    this.#logind = await pollUntil(
      'a bus',
      () => BusConnection.open(this.address, systemClock).catch(() => undefined),
      { timeoutMs: 10_000 },
    );
    this.#logind.onCall = (call) => this.#answer(call);
    await this.#logind.own('org.freedesktop.login1');
    await this.#logind.own('org.freedesktop.systemd1');
  }

  /** Says that the machine is about to be shut down, or that it is not. */
  prepareForShutdown(is: boolean): void {
    const at = { path: '/org/freedesktop/login1', interface: 'org.freedesktop.login1.Manager' };
    this.#logind!.emit({ ...at, member: 'PrepareForShutdown', signature: 'b', body: [is] });
  }

  /** How many inhibitors are held. */
  held(): number {
    return this.#readers.filter((reader) => {
      try {
        // Nothing to read and nobody left to write: the end.
        return readSync(reader, Buffer.alloc(1)) > 0;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'EAGAIN';
      }
    }).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#logind?.close();
    for (const reader of this.#readers) closeSync(reader);
    this.#daemon.kill();
    if (this.#daemon.exitCode === null && this.#daemon.signalCode === null) await once(this.#daemon, 'close');
    await rm(this.#directory, { recursive: true, force: true });
  }

  #answer({ member, body }: BusMessage) {
    this.calls.push(`${member} ${body.join(' ')}`.trim());
    if (member === 'Get') return { signature: 'v', body: [{ signature: 't', value: BigInt(this.delaySeconds * 1e6) }] };
    if (member === 'Inhibit') {
      const descriptor = this.#lock();
      // The daemon has a copy once the answer is sent.
      setImmediate(() => closeSync(descriptor));
      return { signature: 'h', body: [0], descriptor };
    }
    if (member === 'KillUnit') {
      this.delaySeconds = this.onReload();
      return { signature: '', body: [] };
    }
    return undefined;
  }

  /** A pipe with a name; who holds its writing end holds the inhibitor. */
  #lock(): number {
    const path = join(this.#directory, `lock-${this.#readers.length}`);
    execFileSync('mkfifo', [path]);
    this.#readers.push(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
    return openSync(path, 'w');
  }
}
