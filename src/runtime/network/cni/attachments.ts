import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessMissing } from '../../errors.ts';
import { writeAtomically } from '../../store/json-file.ts';
import type { CapabilityArguments } from './capabilities.ts';
import type { CniConfiguration } from './cni-config.ts';

/** What plugins were told of a sandbox, and must be told again to take it back. */
export interface CniAttachment {
  version: 1;
  sandboxId: string;
  interfaceName: string;
  namespacePath: string;
  /** CNI_ARGS. */
  arguments: string;
  configuration: CniConfiguration;
  asked: CapabilityArguments;
  /** The result of ADD, once all plugins have answered. */
  result?: object;
}

/**
 * Attachments on disk, written before the first plugin is called and removed after the last has given back what it had:
 * whatever happens in between, what plugins keep (addresses, rules) is not forgotten. They survive a reboot, as addresses
 * that plugins have given out do.
 */
export class CniAttachments {
  readonly #directory: string;
  readonly #entries = new Map<string, CniAttachment>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Reads what a former run has left; files that cannot be read are told of and left out. */
  static async open(directory: string, onBroken: (file: string, error: unknown) => void): Promise<CniAttachments> {
    const attachments = new CniAttachments(directory);
    for (const name of (await unlessMissing(readdir(directory))) ?? []) {
      if (!name.endsWith('.json')) continue;
      try {
        const entry = JSON.parse(await readFile(join(directory, name), 'utf8')) as CniAttachment;
        if (entry.version !== 1) throw new Error(`version ${entry.version} is not known`);
        attachments.#entries.set(entry.sandboxId, entry);
      } catch (error) {
        onBroken(join(directory, name), error);
      }
    }
    return attachments;
  }

  list(): CniAttachment[] {
    return [...this.#entries.values()];
  }
  find(sandboxId: string): CniAttachment | undefined {
    return this.#entries.get(sandboxId);
  }
  async put(entry: CniAttachment): Promise<void> {
    if (this.#entries.size === 0) await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await writeAtomically(this.#path(entry.sandboxId), JSON.stringify(entry));
    this.#entries.set(entry.sandboxId, entry);
  }
  async delete(sandboxId: string): Promise<void> {
    await rm(this.#path(sandboxId), { force: true });
    this.#entries.delete(sandboxId);
  }

  #path(sandboxId: string): string {
    return join(this.#directory, `${sandboxId}.json`);
  }
}
