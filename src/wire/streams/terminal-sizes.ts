/** Size of a terminal in characters. */
export interface TerminalSize {
  width: number;
  height: number;
}

/** Longest text that can be one size. */
const maximumLength = 4096;

/** Reads the sizes that a client sends: JSON objects `{"Width":80,"Height":24}`, one after another, split anywhere. */
export class TerminalSizes {
  #rest = '';
  #last: TerminalSize | undefined;
  #listener: ((size: TerminalSize) => void) | undefined;

  /** Takes text of the client; what is no size is left out. */
  add(chunk: Uint8Array): void {
    this.#rest += Buffer.from(chunk).toString('latin1');
    for (let end = this.#rest.indexOf('}'); end >= 0; end = this.#rest.indexOf('}')) {
      const size = parseSize(this.#rest.slice(0, end + 1));
      this.#rest = this.#rest.slice(end + 1);
      if (!size) continue;
      this.#last = size;
      this.#listener?.(size);
    }
    if (this.#rest.length > maximumLength) this.#rest = '';
  }

  /** Calls back for every size from now on, and at once with the last one that has come. */
  onSize(listener: (size: TerminalSize) => void): void {
    this.#listener = listener;
    if (this.#last) listener(this.#last);
  }
}

function parseSize(text: string): TerminalSize | undefined {
  try {
    const value = JSON.parse(text) as { Width?: unknown; Height?: unknown };
    const [width, height] = [value.Width, value.Height].map(Number) as [number, number];
    const valid = [width, height].every((one) => Number.isInteger(one) && one > 0 && one < 65_536);
    return valid ? { width, height } : undefined;
  } catch {
    return undefined;
  }
}
