import { type CommandName, describeFlags, loadComponent, parseFlags, runAction, runAlone } from '../node/index.ts';

/** Runs one component in the foreground until a signal (or its supervisor) ends it. */
export async function runComponent(name: string, summary: string, argv: string[]): Promise<number> {
  const module = await loadComponent(name as CommandName);
  if (argv.includes('--help') || argv.includes('-h')) {
    console.log(`Usage: deckhand ${name} [OPTIONS]\n\n${module.summary || summary}\n\n${describeFlags(module.flags)}`);
    return 0;
  }
  const action = argv[0] ?? '';
  if (Object.hasOwn(module.actions ?? {}, action))
    return runAction(module, action, parseFlags(module.flags, argv.slice(1)).values);
  const supervised = action === '--supervised';
  const { values } = parseFlags(module.flags, supervised ? argv.slice(1) : argv);
  return runAlone(module, values, supervised);
}
