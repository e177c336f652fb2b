import { closeSync, constants, openSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { calls } from '../system-calls/index.ts';

const [getNumber, setLock, setSize] = [0x80045430, 0x40045431, 0x5414];

/** Our side of a pseudo-terminal. */
export interface Terminal {
  /** The other side, for a program's input, output and errors; close it with closeProgramSide() once it runs. */
  programFd: number;
  /** What the program writes. Ends when the last program on it has ended. */
  output: ReadStream;
  /** What the program reads. */
  input: WriteStream;
  resize(rows: number, columns: number): void;
  closeProgramSide(): void;
  close(): void;
}

/** Opens a pseudo-terminal. */
export function openTerminal(): Terminal {
  const { O_RDWR, O_NOCTTY } = constants;
  const own = openSync('/dev/ptmx', O_RDWR | O_NOCTTY);
  const number = Buffer.alloc(4);
  calls.ioctl(own, setLock, Buffer.alloc(4));
  calls.ioctl(own, getNumber, number);
  const programFd = openSync(`/dev/pts/${number.readUInt32LE(0)}`, O_RDWR | O_NOCTTY);
  // Each stream closes a descriptor of its own.
  const input = new WriteStream(calls.dup(own));
  const output = new ReadStream(own);
  // The kernel reports the program's end as an I/O error.
  output.on('error', () => output.push(null));
  input.on('error', () => {});
  let open = true;
  return {
    programFd,
    output,
    input,
    resize: (rows, columns) => {
      const size = Buffer.alloc(8);
      size.writeUInt16LE(rows, 0);
      size.writeUInt16LE(columns, 2);
      calls.ioctl(own, setSize, size);
    },
    closeProgramSide: () => {
      if (open) closeSync(programFd);
      open = false;
    },
    close: () => {
      output.destroy();
      input.destroy();
    },
  };
}
