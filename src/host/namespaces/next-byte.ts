import type { LaunchedProgram } from '../exec/index.ts';

/** Waits for the bytes that a program prints as signs, one after another. */
export class NextByte {
  readonly #program: LaunchedProgram;
  #arrived = 0;
  #taken = 0;
  #ended = false;
  #wake: () => void = () => {};

  constructor(program: LaunchedProgram) {
    this.#program = program;
    program.stdout?.on('data', (part: Buffer) => {
      this.#arrived += part.length;
      this.#wake();
    });
    void program.ended.then(() => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Resolves at the next byte. @throws Error when the program ends instead */
  async next(): Promise<void> {
    while (this.#arrived === this.#taken) {
      if (this.#ended) {
        const { status, error } = await this.#program.ended;
        throw new Error(error?.message ?? `the program ended with status ${status}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#taken++;
  }
}
