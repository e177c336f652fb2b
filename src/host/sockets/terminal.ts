import { closeSync, constants, openSync } from 'node:fs';
import { calls } from '../system-calls/index.ts';
import { DescriptorStream } from './descriptor-stream.ts';

const [getNumber, setLock, setSize] = [0x80045430, 0x40045431, 0x5414];
const [getAttributes, setAttributes] = [0x5401, 0x5402];

/** Our side of a pseudo-terminal. */
export interface Terminal {
  /** The other side, for a program's input, output and errors; close it with closeProgramSide() once it runs. */
  programFd: number;
  /** What the program writes (ends when the last program on it has ended), and what it reads. */
  stream: DescriptorStream;
  resize(rows: number, columns: number): void;
  closeProgramSide(): void;
  close(): void;
}

/** Opens a pseudo-terminal in raw mode: bytes pass as they are, nothing is echoed. */
export function openTerminal(): Terminal {
  const { O_RDWR, O_NOCTTY } = constants;
  const own = openSync('/dev/ptmx', O_RDWR | O_NOCTTY);
  let programFd: number;
  try {
    const number = Buffer.alloc(4);
    calls.ioctl(own, setLock, Buffer.alloc(4));
    calls.ioctl(own, getNumber, number);
    programFd = openSync(`/dev/pts/${number.readUInt32LE(0)}`, O_RDWR | O_NOCTTY);
  } catch (cause) {
    closeSync(own);
    throw cause;
  }
  makeRaw(programFd);
  const stream = new DescriptorStream(own);
  let open = true;
  const closeProgramSide = (): void => {
    if (open) closeSync(programFd);
    open = false;
  };
  return {
    programFd,
    stream,
    resize: (rows, columns) => {
      if (stream.destroyed) return;
      const size = Buffer.alloc(8);
      size.writeUInt16LE(rows, 0);
      size.writeUInt16LE(columns, 2);
      calls.ioctl(own, setSize, size);
    },
    closeProgramSide,
    close: () => {
      closeProgramSide();
      stream.destroy();
    },
  };
}

/** As cfmakeraw(3) does: fields are four words of flags, then c_line and c_cc. */
function makeRaw(fd: number): void {
  const attributes = Buffer.alloc(64);
  calls.ioctl(fd, getAttributes, attributes);
  const clear = (at: number, flags: number): void =>
    void attributes.writeUInt32LE((attributes.readUInt32LE(at) & ~flags) >>> 0, at);
  clear(0, 0o2753); // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
  clear(4, 0o1); // OPOST
  clear(8, 0o460); // CSIZE PARENB
  attributes.writeUInt32LE(attributes.readUInt32LE(8) | 0o60, 8); // CS8
  clear(12, 0o100113); // ECHO ECHONL ICANON ISIG IEXTEN
  const [characters, time, minimum] = [17, 5, 6];
  attributes[characters + time] = 0;
  attributes[characters + minimum] = 1;
  calls.ioctl(fd, setAttributes, attributes);
}
