/**
 * Fault points: named places in the code where a test can have something go wrong, to see what is left behind.
 *
 * ```ts
 * await faultPoint('run-sandbox:network');
 * ```
 *
 * Nothing happens there, and nothing is looked up, until {@link armFaults} names the point. Names are
 * `<call>:<step>` and stand as literals in the source, so that a test can find them all and go through them.
 */

/** What happens at a fault point: this process is killed, the step fails, it fails for want of disk space, it never ends. */
export type FaultAction = 'kill' | 'error' | 'enospc' | 'hang';

interface Fault {
  action: FaultAction;
  /** Passes still to be let through. */
  skip: number;
}

let armed: Map<string, Fault> | undefined;

/** What is thrown at a fault point. */
export class FaultError extends Error {
  readonly code: string;
  constructor(name: string, code: 'EFAULT_POINT' | 'ENOSPC') {
    super(code === 'ENOSPC' ? `ENOSPC: no space left on device, fault at ${name}` : `fault at ${name}`);
    this.code = code;
  }
}

/** A place where something may go wrong. Code that cannot wait may leave the result alone, and then cannot hang. */
export function faultPoint(name: string): Promise<never> | undefined {
  return armed === undefined ? undefined : pass(name, armed);
}

/**
 * Arms fault points in place of those armed before; each goes off once. The text is a list with commas of
 * `<name>=<action>` or `<name>@<n>=<action>` for the n-th pass; empty disarms all.
 * @throws Error for text that cannot be read
 */
export function armFaults(text: string): void {
  const faults = new Map<string, Fault>();
  for (const entry of text.split(',').filter((one) => one !== '')) {
    const match = /^([a-z0-9:-]+)(?:@(\d+))?=(kill|error|enospc|hang)$/.exec(entry.trim());
    if (!match) throw new Error(`fault "${entry}" is not <name>[@<n>]=kill|error|enospc|hang`);
    faults.set(match[1]!, { action: match[3] as FaultAction, skip: Math.max(0, Number(match[2] ?? 1) - 1) });
  }
  armed = faults.size > 0 ? faults : undefined;
}

/** Names of the points that are armed and have not gone off. */
export function armedFaults(): string[] {
  return [...(armed?.keys() ?? [])];
}

function pass(name: string, faults: Map<string, Fault>): Promise<never> | undefined {
  const fault = faults.get(name);
  if (!fault || fault.skip-- > 0) return undefined;
  faults.delete(name);
  switch (fault.action) {
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
      // The signal may take a moment; nothing more is to happen in this process.
      for (;;);
    case 'hang':
      return new Promise<never>(() => {});
    case 'enospc':
      throw new FaultError(name, 'ENOSPC');
    case 'error':
      throw new FaultError(name, 'EFAULT_POINT');
  }
}
