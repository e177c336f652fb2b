import { Transform, type TransformCallback } from 'node:stream';
import type { Clock } from '../../async/index.ts';

/** Most that is kept of what the OCI runtime says. */
const maximumSaid = 16 * 1024;

/**
 * Passes on what a command says on a stream that it shares with the OCI runtime, and keeps to itself what comes before
 * the command has started: that is the OCI runtime's reason why it could not.
 */
export class StartGate extends Transform {
  readonly #started: () => boolean;
  readonly #clock: Clock;
  #open = false;
  #over = false;
  #said = '';

  constructor(options: { started: () => boolean; exited: Promise<void>; clock: Clock }) {
    super();
    this.#started = options.started;
    this.#clock = options.clock;
    void options.exited.then(() => {
      this.#over = true;
    });
    this.on('error', () => {});
  }

  /** What the OCI runtime has said. */
  get said(): string {
    return this.#said;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    if (this.#open) return callback(null, chunk);
    void this.#decide().then((open) => {
      this.#open = open;
      if (open) return callback(null, chunk);
      if (this.#said.length < maximumSaid) this.#said += chunk.toString('utf8');
      callback();
    });
  }

  /** The runtime notes the start right after it: words of the command may come before that. */
  async #decide(): Promise<boolean> {
    for (let wait = 1; !this.#started(); wait = Math.min(wait * 2, 20)) {
      if (this.#over || this.destroyed) return this.#started();
      await this.#clock.sleep(wait);
    }
    return true;
  }
}
