/**
 * The door of the node room. What is large is loaded when it is called, so that short commands (setup, status, the
 * first half of `up --detach`) start fast.
 */
import type { ComponentContext } from './component-module.ts';
import type { DownOutcome } from './down.ts';
import type { ListedImage, RuntimeChoice } from './images.ts';
import type { StatusReport } from './status.ts';
import type { Instance, UpEvents } from './up.ts';
import type { UpOptions } from './up-options.ts';

export {
  type CommandName,
  type ComponentModule,
  type ComponentName,
  componentNames,
  type Verb,
} from './component-module.ts';
export { startDetached } from './detach.ts';
export { describeFlags, type Flags, type FlagValues, parseFlags, readDuration, UsageError } from './flags.ts';
export { loadComponent } from './load-component.ts';
export { makeContext, runAction, runAlone } from './run-alone.ts';
export { setUp } from './setup.ts';
export { dataDirFlag, readUpOptions, upFlags } from './up-options.ts';
export type { DownOutcome, Instance, ListedImage, RuntimeChoice, StatusReport, UpEvents, UpOptions };

/** Starts everything and waits until the node is Ready; see up.ts. */
export async function startInstance(
  options: UpOptions,
  context: ComponentContext,
  events: UpEvents,
): Promise<Instance> {
  return (await import('./up.ts')).startInstance(options, context, events);
}

/** Ends the instance of a data directory; see down.ts. */
export async function stopInstance(
  dataDirectory: string,
  keepPods: boolean,
  context: ComponentContext,
): Promise<DownOutcome> {
  return (await import('./down.ts')).stopInstance(dataDirectory, keepPods, context);
}

/** Collects the state of an instance; see status.ts. */
export async function collectStatus(
  dataDirectory: string,
  context: ComponentContext,
): Promise<StatusReport | undefined> {
  return (await import('./status.ts')).collectStatus(dataDirectory, context);
}

/** Tells the story of a node; see demo/story.ts. */
export async function tellStory(
  instance: Instance,
  options: { clock: ComponentContext['clock']; signal: AbortSignal; print: (line: string) => void },
): Promise<void> {
  return (await import('./demo/story.ts')).tellStory(instance, options);
}

/** Timelines of pods; see timeline.ts. */
export async function loadTimeline(): Promise<typeof import('./timeline.ts')> {
  return import('./timeline.ts');
}

/** The commands on images; see images.ts. */
export async function loadImages(): Promise<typeof import('./images.ts')> {
  return import('./images.ts');
}

/** Making images; see image-build/build-image.ts. */
export async function loadImageBuild(): Promise<typeof import('./image-build/build-image.ts')> {
  return import('./image-build/build-image.ts');
}

/** The image of an instance's proxy; see proxy-daemonset/proxy-image.ts. */
export async function loadProxyImage(): Promise<typeof import('./proxy-daemonset/proxy-image.ts')> {
  return import('./proxy-daemonset/proxy-image.ts');
}

/** The commands on bootstrap tokens; see tokens.ts. */
export async function loadTokens(): Promise<typeof import('./tokens.ts')> {
  return import('./tokens.ts');
}
