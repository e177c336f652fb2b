import type { Clock, Component } from '../async/index.ts';
import type { Level, Logger } from '../log/index.ts';
import type { Flags, FlagValues } from './flags.ts';

/** The components of a node, in the order in which they start. */
export const componentNames = ['apiserver', 'runtime', 'kubelet', 'proxy', 'scheduler', 'controllers', 'dns'] as const;

/** One of {@link componentNames}. */
export type ComponentName = (typeof componentNames)[number];

/** What runs as a command of its own: the components, and what only ever runs beside a foreign program. */
export type CommandName = ComponentName | 'cri-docker';

/** Where a component runs. */
export type Place = 'process' | 'thread' | 'inline';

/** What every component is given. */
export interface ComponentContext {
  log: Logger;
  clock: Clock;
  /** Changes the level of `log`; missing where several components share it. */
  setLogLevel?(level: Level): void;
  /** Changes how lines of `log` are written; missing where several components share it. */
  setLogFormat?(format: 'text' | 'json'): void;
}

/** A component that can read its configuration again. */
export interface Reloadable extends Component {
  /** Takes over what may change while it runs; the old configuration stays when the new one is wrong. */
  reload?(): Promise<unknown>;
}

/** A component as a command: its options and how it starts. One file each in components/. */
export interface ComponentModule<F extends Flags = Flags> {
  name: CommandName;
  /** One line for --help. */
  summary: string;
  flags: F;
  /** Does what the options ask for once (a clean-up) and gives true, or gives false and start() is called. */
  once?(values: FlagValues<F>, context: ComponentContext): Promise<boolean>;
  start(values: FlagValues<F>, context: ComponentContext): Promise<Reloadable> | Reloadable;
  /** What else the command does, as `deckhand <name> <action> [OPTIONS]`: gives the exit status. */
  actions?: Record<string, (values: FlagValues<F>, context: ComponentContext) => Promise<number>>;
  /** The same for what has options and a --help of its own; loaded when it is called. */
  verbs?: Record<string, { summary: string; load: () => Promise<Verb> }>;
}

/** One of {@link ComponentModule.verbs}. */
export interface Verb<F extends Flags = Flags> {
  summary: string;
  /** What stands behind the name in --help, with everything that is to be known before the options. */
  usage: string;
  flags: F;
  /** Gives the exit status. */
  run(values: FlagValues<F>, context: ComponentContext): Promise<number>;
}

/** Keeps the types of a verb's flags and of its values together. */
export function defineVerb<F extends Flags>(verb: Verb<F>): Verb {
  return verb as unknown as Verb;
}

/** Keeps the types of a module's flags and of its values together. */
export function defineComponent<F extends Flags>(module: ComponentModule<F>): ComponentModule<F> {
  return module;
}
