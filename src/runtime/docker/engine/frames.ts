/** A piece of output and where it came from. */
export interface Frame {
  stream: 'stdin' | 'stdout' | 'stderr';
  data: Buffer;
}

const streams = ['stdin', 'stdout', 'stderr'] as const;
const headerBytes = 8;

/**
 * Takes apart what the engine sends for containers without a terminal: each frame has a header of eight bytes (the
 * stream, three zeros, the length in big endian). Keeps what is incomplete until the rest comes.
 */
export class FrameReader {
  #parts: Buffer[] = [];
  #length = 0;

  /** The frames that a chunk completes. @throws Error when this is no such stream */
  push(chunk: Buffer): Frame[] {
    this.#parts.push(chunk);
    this.#length += chunk.length;
    const frames: Frame[] = [];
    for (
      let size = this.#nextSize();
      size !== undefined && this.#length >= headerBytes + size;
      size = this.#nextSize()
    ) {
      const all = this.#join();
      frames.push({ stream: streams[all[0]!]!, data: all.subarray(headerBytes, headerBytes + size) });
      const rest = all.subarray(headerBytes + size);
      this.#parts = rest.length > 0 ? [rest] : [];
      this.#length = rest.length;
    }
    return frames;
  }

  #nextSize(): number | undefined {
    if (this.#length < headerBytes) return undefined;
    if (this.#parts[0]!.length < headerBytes) this.#join();
    const [head] = this.#parts;
    if (!streams[head![0]!]) throw new Error(`the engine sent a frame of an unknown stream ${head![0]}`);
    return head!.readUInt32BE(4);
  }

  #join(): Buffer {
    if (this.#parts.length > 1) this.#parts = [Buffer.concat(this.#parts)];
    return this.#parts[0]!;
  }
}
