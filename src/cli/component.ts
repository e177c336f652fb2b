import {
  type CommandName,
  describeFlags,
  loadComponent,
  makeContext,
  parseFlags,
  runAction,
  runAlone,
  type Verb,
} from '../node/index.ts';

/** Runs one component in the foreground until a signal (or its supervisor) ends it. */
export async function runComponent(name: string, summary: string, argv: string[]): Promise<number> {
  const module = await loadComponent(name as CommandName);
  const action = argv[0] ?? '';
  const verbs = Object.entries(module.verbs ?? {});
  const verb = verbs.find(([one]) => one === action)?.[1];
  if (verb) return runVerb(`${name} ${action}`, await verb.load(), argv.slice(1));
  if (argv.includes('--help') || argv.includes('-h')) {
    const more = verbs.map(([one, { summary }]) => `  deckhand ${name} ${one.padEnd(8)} ${summary}\n`).join('');
    console.log(
      `Usage: deckhand ${name} [OPTIONS]\n${more}\n${module.summary || summary}\n\n${describeFlags(module.flags)}`,
    );
    return 0;
  }
  if (Object.hasOwn(module.actions ?? {}, action))
    return runAction(module, action, parseFlags(module.flags, argv.slice(1)).values);
  const supervised = action === '--supervised';
  const { values } = parseFlags(module.flags, supervised ? argv.slice(1) : argv);
  return runAlone(module, values, supervised);
}

/** Runs what a component's command does besides running it: `deckhand proxy explain`. */
async function runVerb(name: string, verb: Verb, argv: string[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    console.log(`Usage: deckhand ${name} ${verb.usage}\n\n${describeFlags(verb.flags)}`);
    return 0;
  }
  const { values } = parseFlags(verb.flags, argv);
  return verb.run(values as never, makeContext(name, values));
}
