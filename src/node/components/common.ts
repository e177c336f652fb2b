import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { ApiClient } from '../../client/index.ts';
import type { ComponentContext } from '../component-module.ts';
import { type Flags, UsageError } from '../flags.ts';

/** Options that every component has. */
export const commonFlags = {
  v: { type: 'string', short: 'v', value: 'LEVEL', default: '2', help: 'log level; 4 and more shows debug lines' },
  help: { type: 'boolean', short: 'h', help: 'show this' },
} as const satisfies Flags;

/** Options of components that talk to an API server. */
export const clientFlags = {
  kubeconfig: { type: 'string', value: 'FILE', help: 'how to reach the API server (default: as a pod does)' },
  master: { type: 'string', value: 'URL', help: "the API server's address, in place of the kubeconfig's" },
} as const satisfies Flags;

/** A client from a kubeconfig, or from a pod's service account when none is named. */
export async function clientFrom(
  values: { kubeconfig?: string | undefined; master?: string | undefined },
  userAgent: string,
  context: ComponentContext,
): Promise<ApiClient> {
  // Not every component is a client.
  const { createClient, loadInClusterConfig, loadKubeconfig } = await import('../../client/index.ts');
  const config = values.kubeconfig ? await loadKubeconfig(values.kubeconfig) : await loadInClusterConfig(process.env);
  return createClient(
    { ...config, ...(values.master ? { server: values.master } : {}), userAgent: `deckhand-${userAgent}` },
    context,
  );
}

/** The text of a configuration file. @throws UsageError naming it when it cannot be read */
export async function readConfiguration(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read --config ${file}: ${(error as Error).message}`);
  }
}

/** The node's name: as given, or the machine's in lower case. */
export function nodeNameFrom(override: string | undefined): string {
  return (override || hostname()).trim().toLowerCase();
}

/** A whole number option. @throws UsageError naming it */
export function readNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new UsageError(`--${name} ${text} must be a whole number from ${least} to ${most}`);
  return value;
}
