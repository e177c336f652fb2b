import { closeSync, openSync, readSync } from 'node:fs';

/** Files that a directory of cgroups may have open at once: about 300 containers' worth. */
const mostOpen = 3000;

const missing = -1;

/**
 * Reads small files again and again, and keeps them open meanwhile: opening one of a cgroup costs six times what reading
 * it does. Not found is remembered too. A cgroup that is removed is told by forget(), or by the kernel at the next read.
 */
export class OpenFiles {
  readonly #descriptors = new Map<string, Map<string, number>>();
  readonly #buffer = Buffer.allocUnsafe(16_384);
  #open = 0;

  /**
   * What a file holds now; undefined when there is none. It is found by its owner, which is what forget() is told, and
   * its name; the path counts when it is opened.
   */
  read(owner: string, name: string, path: () => string): string | undefined {
    let files = this.#descriptors.get(owner);
    if (!files) {
      files = new Map();
      this.#descriptors.set(owner, files);
    }
    const known = files.get(name);
    if (known === missing) return undefined;
    if (known !== undefined) {
      const content = this.#readDescriptor(known);
      if (content !== undefined) return content;
      this.#close(known);
      files.delete(name);
    }
    return this.#openAndRead(files, name, path());
  }

  /** Closes what is open for an owner and those below it. */
  forget(owner: string): void {
    for (const [one, files] of this.#descriptors) {
      if (one !== owner && !one.startsWith(`${owner}/`)) continue;
      for (const descriptor of files.values()) if (descriptor !== missing) this.#close(descriptor);
      this.#descriptors.delete(one);
    }
  }

  #openAndRead(files: Map<string, number>, name: string, path: string): string | undefined {
    let descriptor: number;
    try {
      descriptor = openSync(path, 'r');
    } catch {
      files.set(name, missing);
      return undefined;
    }
    this.#open++;
    const content = this.#readDescriptor(descriptor);
    if (content !== undefined && this.#open <= mostOpen) {
      files.set(name, descriptor);
      return content;
    }
    this.#close(descriptor);
    // Pressure that the kernel does not keep: the files are there, and refuse to be read.
    if (content === undefined) files.set(name, missing);
    return content;
  }

  #readDescriptor(descriptor: number): string | undefined {
    try {
      return this.#buffer.toString('latin1', 0, readSync(descriptor, this.#buffer, 0, this.#buffer.length, 0));
    } catch {
      // ENODEV: the cgroup was removed.
      return undefined;
    }
  }

  #close(descriptor: number): void {
    this.#open--;
    closeSync(descriptor);
  }
}
