import { ProxyError } from '../errors.ts';

/** A condition of a rule, with what it is compared with. */
export interface RuleTest {
  name: string;
  invert: boolean;
  value: string;
}

/** A rule of an iptables table, taken apart. */
export interface ParsedRule {
  /** As iptables-save prints it, behind `-A CHAIN`. */
  text: string;
  comment: string;
  /** All must hold. */
  tests: RuleTest[];
  /** Empty: the rule decides nothing. */
  target: string;
  /** `-g`: the caller's chain is not come back to. */
  goto: boolean;
  /** Options of the target, by name. */
  targetOptions: ReadonlyMap<string, string>;
}

/** Options that take no value. */
const flags = new Set(['--random-fully', '--random', '--persistent', '--rsource', '--rdest', '--reap', '--rcheck']);
for (const name of ['--set', '--update', '--remove']) flags.add(name);

const shortNames: Record<string, string> = {
  '-s': 'source',
  '-d': 'destination',
  '-p': 'protocol',
  '-i': 'in-interface',
  '-o': 'out-interface',
};

/** Takes a rule apart as iptables-save prints it. @throws ProxyError UNREADABLE_RULES */
export function parseRule(text: string): ParsedRule {
  const words = splitWords(text);
  const tests: RuleTest[] = [];
  const targetOptions = new Map<string, string>();
  let [comment, target, goto, invert] = ['', '', false, false];
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (word === '!') {
      invert = true;
      continue;
    }
    if (!word.startsWith('-'))
      throw new ProxyError('UNREADABLE_RULES', text, `has ${JSON.stringify(word)} where an option should be`);
    if (word === '-m') {
      index++;
      continue;
    }
    const value = flags.has(word) ? '' : (words[++index] ?? '');
    if (word === '-j' || word === '-g') {
      target = value;
      goto = word === '-g';
    } else if (word === '--comment') comment = value;
    else if (target !== '') targetOptions.set(word.slice(2), value);
    else if (word === '--match-set')
      tests.push({ name: 'match-set', invert, value: `${value} ${words[++index] ?? ''}` });
    else tests.push({ name: shortNames[word] ?? word.slice(2), invert, value });
    invert = false;
  }
  return { text, comment, tests, target, goto, targetOptions };
}

/** Words by spaces; what is in double quotes is one word. */
function splitWords(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|\S+/g)].map((match) =>
    match[1] === undefined ? match[0] : match[1].replace(/\\(.)/g, '$1'),
  );
}
