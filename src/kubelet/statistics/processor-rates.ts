/** Which samples a rate may be taken from: not too near, or it is noise; not too far, or it is history; milliseconds. */
const least = 150;
const most = 10_000;

interface Entry {
  at: number;
  nanoseconds: number;
  rate: number | undefined;
}

/** Turns processor times that only grow into processors in use, from each look to one some seconds before. */
export class ProcessorRates {
  readonly #entries = new Map<string, Entry>();

  /** Billionths of a processor in use, or undefined at the first look. */
  note(key: string, nanoseconds: number, at: number): number | undefined {
    const entry = this.#entries.get(key);
    if (!entry || nanoseconds < entry.nanoseconds) {
      this.#entries.set(key, { at, nanoseconds, rate: undefined });
      return undefined;
    }
    const passed = at - entry.at;
    if (passed < least) return entry.rate;
    entry.rate = Math.round(((nanoseconds - entry.nanoseconds) / passed) * 1000);
    if (passed >= most) Object.assign(entry, { at, nanoseconds });
    return entry.rate;
  }

  /** Forgets what is none of these. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#entries.keys()) if (!keys.has(key)) this.#entries.delete(key);
  }
}
