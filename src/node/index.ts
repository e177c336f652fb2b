/**
 * The door of the node room. What is large is loaded when it is called, so that short commands (setup, status, the
 * first half of `up --detach`) start fast.
 */
import type { ComponentContext } from './component-module.ts';
import type { DownOutcome } from './down.ts';
import type { ListedImage } from './images.ts';
import type { ImportedImage } from './runtime-admin.ts';
import type { StatusReport } from './status.ts';
import type { Instance, UpEvents } from './up.ts';
import type { UpOptions } from './up-options.ts';

export { type ComponentModule, type ComponentName, componentNames } from './component-module.ts';
export { startDetached } from './detach.ts';
export { describeFlags, type Flags, type FlagValues, parseFlags, UsageError } from './flags.ts';
export { loadComponent } from './load-component.ts';
export { runAction, runAlone } from './run-alone.ts';
export { setUp } from './setup.ts';
export { dataDirFlag, readUpOptions, upFlags } from './up-options.ts';
export type { DownOutcome, ImportedImage, Instance, ListedImage, StatusReport, UpEvents, UpOptions };

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

/** Pulls an image to the node; gives its id. */
export async function pullImage(dataDirectory: string, reference: string): Promise<string> {
  return (await import('./images.ts')).pullImage(dataDirectory, reference);
}

/** The images of the node. */
export async function listImages(dataDirectory: string): Promise<ListedImage[]> {
  return (await import('./images.ts')).listImages(dataDirectory);
}

/** Removes an image from the node. */
export async function removeImage(dataDirectory: string, reference: string): Promise<void> {
  return (await import('./images.ts')).removeImage(dataDirectory, reference);
}

/** Reads images from an OCI layout or a docker-archive into the node. */
export async function importArchive(
  dataDirectory: string,
  archive: string,
  name: string | undefined,
): Promise<ImportedImage[]> {
  return (await import('./images.ts')).importArchive(dataDirectory, archive, name);
}
