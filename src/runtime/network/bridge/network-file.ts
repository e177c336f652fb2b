import { readFile } from 'node:fs/promises';
import { unlessMissing } from '../../errors.ts';
import { writeAtomically } from '../../store/json-file.ts';

/** What a next run must know and can find nowhere else. */
interface NetworkNotes {
  version: 1;
  /** The ranges of the configuration when the others were told. */
  configured: string;
  /** Ranges that UpdateRuntimeConfig told; empty for none. */
  told: string;
  /** Where the search for a free address goes on, by range. */
  positions: Record<string, number>;
}

/** Keeps notes in a file. Writing is never waited for: what is lost by a kill costs an address that is used again early. */
export class NetworkFile {
  readonly #path: string;
  readonly #onError: (error: unknown) => void;
  #notes: NetworkNotes = { version: 1, configured: '', told: '', positions: {} };
  #writing: Promise<void> | undefined;
  #again = false;

  private constructor(path: string, onError: (error: unknown) => void) {
    this.#path = path;
    this.#onError = onError;
  }

  /** Reads the file; one that cannot be read counts as missing. */
  static async open(path: string, onError: (error: unknown) => void): Promise<NetworkFile> {
    const file = new NetworkFile(path, onError);
    try {
      const text = await unlessMissing(readFile(path, 'utf8'));
      const read = JSON.parse(text ?? '{}') as Partial<NetworkNotes>;
      const { told, configured, positions } = read;
      if (read.version === 1 && typeof told === 'string' && typeof configured === 'string')
        file.#notes = { version: 1, told, configured, positions: { ...positions } };
    } catch (error) {
      onError(error);
    }
    return file;
  }

  get notes(): Readonly<NetworkNotes> {
    return this.#notes;
  }
  /** Notes something and has it written soon. */
  note(change: Partial<Omit<NetworkNotes, 'version'>>): void {
    this.#notes = { ...this.#notes, ...change };
    this.#again = true;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }
  /** When all is written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    try {
      while (this.#again) {
        this.#again = false;
        await writeAtomically(this.#path, `${JSON.stringify(this.#notes)}\n`);
      }
    } catch (error) {
      this.#onError(error);
    }
  }
}
