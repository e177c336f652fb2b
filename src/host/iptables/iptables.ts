import { readFile } from 'node:fs/promises';
import type { Clock } from '../../async/index.ts';
import { type ProgramResult, runProgram } from '../exec/index.ts';

/** Which kernel mechanism the host's iptables programs write to. */
export type IptablesVariant = 'nft' | 'legacy';

/** Why iptables failed, in one word. */
export type IptablesErrorCode = 'NOT_FOUND' | 'LOCKED' | 'BAD_RULE' | 'TIMEOUT' | 'FAILED';

/** An iptables program that failed. */
export class IptablesError extends Error {
  readonly code: IptablesErrorCode;
  readonly subject: string;
  constructor(code: IptablesErrorCode, subject: string, message: string) {
    super(`${subject}: ${message}`);
    this.name = 'IptablesError';
    this.code = code;
    this.subject = subject;
  }
}

/** The tables that Services use. */
export type IptablesTable = 'nat' | 'filter' | 'mangle';

/** The host's iptables programs for one family. */
export interface Iptables {
  readonly variant: IptablesVariant;
  readonly family: 4 | 6;
  /** The lines of a table as iptables-save prints them: `:CHAIN …` and `-A CHAIN …`. @throws IptablesError */
  save(table: IptablesTable): Promise<string[]>;
  /**
   * Writes tables (`*nat`, lines, `COMMIT`), leaving alone what is not named. Each table takes effect at once; waits
   * for the lock of other users. @throws IptablesError
   */
  restore(text: string): Promise<void>;
}

const timeoutMs = 120_000;
/** Seconds that a program waits for others that hold the lock. */
const lockSeconds = 10;
/** Chains that other node agents leave in the variant that the host uses. */
const hints = /^:(KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY) /m;

/**
 * Finds the iptables programs and the variant that the host uses: the one in which the kubelet or a network plugin has
 * left its mark, else what plain `iptables` is. With `only`, that variant, for a kernel that has nothing else.
 * @throws IptablesError NOT_FOUND
 */
export async function findIptables(family: 4 | 6, clock: Clock, only?: IptablesVariant): Promise<Iptables> {
  const base = family === 4 ? 'iptables' : 'ip6tables';
  const found = new Map<IptablesVariant, string>();
  for (const program of [base, `${base}-nft`, `${base}-legacy`]) {
    const version = await tryRun([program, '--version'], clock);
    if (version?.status !== 0) continue;
    const variant = version.stdout.includes('nf_tables') ? 'nft' : 'legacy';
    if (!found.has(variant) && (only ?? variant) === variant) found.set(variant, program);
  }
  const [first, second] = [...found];
  if (!first) throw new IptablesError('NOT_FOUND', base, 'no such program');
  const other = second && !(await hasHint(...first, family, clock)) && (await hasHint(...second, family, clock));
  const [variant, program] = other ? second : first;
  return open(program, variant, family, clock);
}

async function hasHint(variant: IptablesVariant, program: string, family: 4 | 6, clock: Clock): Promise<boolean> {
  if (variant === 'legacy') {
    // Asking the program would make the table: look first whether it is there.
    const names = await readFile(`/proc/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`, 'utf8').catch(() => '');
    if (!names.split('\n').includes('mangle')) return false;
  }
  const saved = await tryRun([`${program}-save`, '-t', 'mangle'], clock);
  return saved !== undefined && hints.test(saved.stdout.toString());
}

async function tryRun(argv: string[], clock: Clock): Promise<ProgramResult | undefined> {
  return runProgram(argv, { clock, timeoutMs: 10_000 }).catch(() => undefined);
}

function open(program: string, variant: IptablesVariant, family: 4 | 6, clock: Clock): Iptables {
  return {
    variant,
    family,
    save: async (table) => {
      const argv = [`${program}-save`, '-t', table];
      const result = await runProgram(argv, { clock, timeoutMs, maximumOutputBytes: 512 * 1024 * 1024 });
      if (result.status !== 0) throw classify(argv[0]!, result);
      return result.stdout.toString().split('\n');
    },
    restore: async (text) => {
      const argv = [`${program}-restore`, '--noflush', '-w', String(lockSeconds)];
      const result = await runProgram(argv, { clock, timeoutMs, input: text });
      if (result.status !== 0) throw classify(argv[0]!, result, text);
    },
  };
}

/** Makes an error of what a program said. */
function classify(program: string, result: ProgramResult, input = ''): IptablesError {
  const said = result.stderr.toString().trim();
  if (result.timedOut) return new IptablesError('TIMEOUT', program, `no end within ${timeoutMs} ms`);
  if (/holding the xtables lock/.test(said)) return new IptablesError('LOCKED', program, said);
  const line = /line:? (\d+)/i.exec(said)?.[1];
  const text = line === undefined ? undefined : input.split('\n')[Number(line) - 1];
  if (text !== undefined) return new IptablesError('BAD_RULE', program, `${said}: ${text}`);
  return new IptablesError('FAILED', program, said || `status ${result.status}`);
}
