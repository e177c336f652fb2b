import { arch } from 'node:os';

/**
 * The process that keeps a shared PID namespace is PID 1 for every container of the pod, and they can look at it. So it
 * must have nothing: no file system, no capability, no other namespace of the host: with CAP_SYS_PTRACE, /proc/1/root is a
 * door to all that it sees. No program that is on every machine can do that to itself, so we write one, a list of system
 * calls in machine code of about a kilobyte. When whoever started it dies before it is done, so does it.
 *
 *   say "." ──► wait for two bytes ──► own mount and cgroup namespace, an empty root ──► no groups, user 0 of its user
 *   namespace, no capabilities, not to be traced ──► let the kernel take away dead children ──► say "." ──► sleep
 */

/** An argument of a system call: a number, the address of bytes, or free memory on the stack. */
type Argument = number | bigint | Buffer | 'stack';

/** A system call by name, with its arguments. */
interface Step {
  call: keyof (typeof numbers)['x64'];
  with: readonly Argument[];
  /** Which results end the program. Default: an error. */
  fails?: 'never' | 'whenZero';
}

const numbers = {
  x64: {
    read: 0,
    write: 1,
    close: 3,
    rt_sigaction: 13,
    exit: 60,
    chdir: 80,
    setgroups: 116,
    setresuid: 117,
    setresgid: 119,
    capset: 126,
    pivot_root: 155,
    prctl: 157,
    mount: 165,
    umount2: 166,
    ppoll: 271,
    unshare: 272,
  },
  arm64: {
    read: 63,
    write: 64,
    close: 57,
    rt_sigaction: 134,
    exit: 93,
    chdir: 49,
    setgroups: 159,
    setresuid: 147,
    setresgid: 149,
    capset: 91,
    pivot_root: 41,
    prctl: 167,
    mount: 40,
    umount2: 39,
    ppoll: 73,
    unshare: 97,
  },
} as const;

const text = (value: string): Buffer => Buffer.from(`${value}\0`);
const newMountAndCgroup = 0x00020000 | 0x02000000;
const recursivePrivate = 0x4000 | 0x40000;
const readOnlyNothing = 1 | 2 | 4 | 8;
const detach = 2;
const childSignal = 17;

/** struct sigaction with SIG_IGN. */
const ignore = Buffer.alloc(32);
ignore.writeBigUInt64LE(1n, 0);

/** Header of capset(2), version 3, for the calling thread. */
const capabilityHeader = Buffer.alloc(8);
capabilityHeader.writeUInt32LE(0x20080522, 0);

/** What the program does before it sleeps; its exit status is the number of the step that failed, counted from 1. */
export const holderSteps: readonly Step[] = [
  { call: 'write', with: [1, text('.'), 1] },
  { call: 'read', with: [0, 'stack', 1], fails: 'whenZero' },
  { call: 'read', with: [0, 'stack', 1], fails: 'whenZero' },
  { call: 'unshare', with: [newMountAndCgroup] },
  { call: 'mount', with: [text('none'), text('/'), 0, recursivePrivate, 0] },
  { call: 'mount', with: [text('none'), text('/proc'), text('tmpfs'), readOnlyNothing, text('size=4k,mode=555')] },
  { call: 'chdir', with: [text('/proc')] },
  { call: 'pivot_root', with: [text('.'), text('.')] },
  { call: 'umount2', with: [text('.'), detach] },
  { call: 'setgroups', with: [0, 0] },
  { call: 'setresgid', with: [0, 0, 0] },
  { call: 'setresuid', with: [0, 0, 0] },
  // 38 is PR_SET_NO_NEW_PRIVS, 4 is PR_SET_DUMPABLE.
  { call: 'prctl', with: [38, 1, 0, 0, 0] },
  { call: 'capset', with: [capabilityHeader, Buffer.alloc(24)] },
  { call: 'prctl', with: [4, 0, 0, 0, 0] },
  { call: 'rt_sigaction', with: [childSignal, ignore, 0, 8] },
  { call: 'write', with: [1, text('.'), 1] },
  { call: 'close', with: [2], fails: 'never' },
  { call: 'close', with: [1], fails: 'never' },
  { call: 'close', with: [0], fails: 'never' },
];

const waitingSteps: readonly Step[] = [{ call: 'rt_sigaction', with: [childSignal, ignore, 0, 8] }];

const loadAddress = 0x400000;
const headerBytes = 64 + 56;

interface Machine {
  elf: number;
  numbers: Record<string, number>;
  /** A call; the values of arguments are 64 bits wide. */
  call(number: number, values: readonly (bigint | 'stack')[]): Buffer;
  /** Passes over what follows (so many bytes) when the last call gave no error, or no error and not zero. */
  skip(bytes: number, zeroFails: boolean): Buffer;
  /** Goes back so many bytes, counted from its own start. */
  back(bytes: number): Buffer;
}

const x64: Machine = {
  elf: 62,
  numbers: numbers.x64,
  call: (number, values) => {
    const registers = ['48bf', '48be', '48ba', '49ba', '49b8', '49b9'];
    const moves = values.map((value, at) =>
      // mov rsi, rsp is the only one of its kind that is needed.
      value === 'stack' ? Buffer.from('4889e6', 'hex') : immediate(registers[at]!, value),
    );
    return Buffer.concat([...moves, immediate('48b8', BigInt(number)), Buffer.from('0f05', 'hex')]);
  },
  // test rax, rax; jns or jg
  skip: (bytes, zeroFails) => Buffer.from([0x48, 0x85, 0xc0, zeroFails ? 0x7f : 0x79, bytes]),
  back: (bytes) => {
    const jump = Buffer.from([0xe9, 0, 0, 0, 0]);
    jump.writeInt32LE(-bytes - 5, 1);
    return jump;
  },
};

function immediate(opcode: string, value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return Buffer.concat([Buffer.from(opcode, 'hex'), bytes]);
}

const arm64: Machine = {
  elf: 183,
  numbers: numbers.arm64,
  call: (number, values) => {
    const set = (register: number, value: bigint): number[] =>
      [0, 1, 2, 3].map((part) => {
        const bits = Number((value >> BigInt(16 * part)) & 0xffffn);
        // movz for the lowest sixteen bits, movk for the others.
        return ((part === 0 ? 0xd2800000 : 0xf2800000) | (part << 21) | (bits << 5) | register) >>> 0;
      });
    const moves = values.flatMap((value, at) => (value === 'stack' ? [0x910003e1] : set(at, value)));
    return words([...moves, ...set(8, BigInt(number)), 0xd4000001]);
  },
  // cmp x0, #0; b.gt or b.ge
  skip: (bytes, zeroFails) => words([0xf100001f, 0x54000000 | ((bytes / 4 + 1) << 5) | (zeroFails ? 0xc : 0xa)]),
  back: (bytes) => words([(0x14000000 | (-(bytes / 4) & 0x3ffffff)) >>> 0]),
};

function words(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [at, value] of values.entries()) bytes.writeUInt32LE(value, at * 4);
  return bytes;
}

/** A program that does nothing but wait and let the kernel take away dead children: PID 1 for others to make namespaces for. */
export const buildWaitingProgram = (processor: string = arch()): Buffer => buildProgram(waitingSteps, processor);

/** The program as an ELF file for a kind of processor. @throws Error for one that it is not written for */
export const buildHolderProgram = (processor: string = arch()): Buffer => buildProgram(holderSteps, processor);

function buildProgram(steps: readonly Step[], processor: string): Buffer {
  const machine = processor === 'x64' ? x64 : processor === 'arm64' ? arm64 : undefined;
  if (!machine) throw new Error(`shared PID namespaces are not supported on ${processor} processors`);
  // Addresses are as wide as any number, so the first pass finds out where the data begins.
  const codeBytes = assemble(machine, steps, 0).code.length;
  const { code, data } = assemble(machine, steps, loadAddress + headerBytes + codeBytes);
  const total = headerBytes + code.length + data.length;
  return Buffer.concat([elfHeader(machine.elf), programHeader(total), code, data]);
}

function assemble(machine: Machine, steps: readonly Step[], dataAddress: number): { code: Buffer; data: Buffer } {
  const data: Buffer[] = [];
  let dataBytes = 0;
  const place = (argument: Argument): bigint | 'stack' => {
    if (argument === 'stack') return argument;
    if (!Buffer.isBuffer(argument)) return BigInt(argument);
    const address = BigInt(dataAddress + dataBytes);
    const padded = Buffer.concat([argument, Buffer.alloc((8 - (argument.length % 8)) % 8)]);
    data.push(padded);
    dataBytes += padded.length;
    return address;
  };
  const call = (name: string, values: readonly Argument[]): Buffer =>
    machine.call(machine.numbers[name]!, values.map(place));
  const code = steps.flatMap(({ call: name, with: values, fails }, at) => {
    const leave = call('exit', [at + 1]);
    if (fails === 'never') return [call(name, values)];
    return [call(name, values), machine.skip(leave.length, fails === 'whenZero'), leave];
  });
  const sleep = call('ppoll', [0, 0, 0, 0]);
  return { code: Buffer.concat([...code, sleep, machine.back(sleep.length)]), data: Buffer.concat(data) };
}

/** The header of an executable with one segment and nothing else (ELF-64, System V ABI). */
function elfHeader(machine: number): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(loadAddress + headerBytes), 24);
  header.writeBigUInt64LE(64n, 32);
  for (const [at, value] of [64, 56, 1, 0, 0, 0].entries()) header.writeUInt16LE(value, 52 + at * 2);
  return header;
}

function programHeader(total: number): Buffer {
  const header = Buffer.alloc(56);
  const [load, readAndExecute] = [1, 5];
  header.writeUInt32LE(load, 0);
  header.writeUInt32LE(readAndExecute, 4);
  header.writeBigUInt64LE(0n, 8);
  header.writeBigUInt64LE(BigInt(loadAddress), 16);
  header.writeBigUInt64LE(BigInt(loadAddress), 24);
  header.writeBigUInt64LE(BigInt(total), 32);
  header.writeBigUInt64LE(BigInt(total), 40);
  header.writeBigUInt64LE(0x1000n, 48);
  return header;
}
