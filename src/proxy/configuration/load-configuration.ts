import { readFile } from 'node:fs/promises';
import { ProxyError } from '../errors.ts';
import { checkDocument } from './check-document.ts';
import { completeDocument } from './complete.ts';
import { applyFlags, type GivenFlags, givenFlags, noServer } from './flag-values.ts';
import { proxyFlags } from './flags.ts';
import { type ReadDocument, readDocument } from './read-document.ts';
import { readSettings } from './read-settings.ts';
import type { LoadedConfiguration } from './settings.ts';

/**
 * Reads upstream's file format, kubeproxy.config.k8s.io/v1alpha1 KubeProxyConfiguration, in YAML or JSON. Wrong types and values
 * that make no sense are errors, all told at once; unknown fields are warnings, as upstream's lenient reading has it.
 * @throws ProxyError INVALID_CONFIGURATION
 */
export function parseProxyConfiguration(text: string, name = 'proxy configuration'): LoadedConfiguration {
  return finish(readDocument(text, name), name, {});
}

/**
 * The configuration from --config, or from flags. With a file only the flags of logging, the name of the node and the API
 * server's address count, as upstream.
 * @throws ProxyError INVALID_CONFIGURATION naming the file or flag, and what is wrong
 */
export async function loadProxyConfiguration(values: GivenFlags): Promise<LoadedConfiguration> {
  const file = values['config'] as string | undefined;
  const ignored = givenFlags(values).flatMap(([name]) => (proxyFlags[name]!.always ? [] : [`--${name}`]));
  if (!file) {
    const document = {};
    applyFlags(document, values, 'all');
    return finish({ document, own: {}, warnings: [], problems: [] }, 'flags', values);
  }
  const loaded = finish(readDocument(await readText(file), file), file, values);
  if (ignored.length > 0)
    loaded.warnings.push(`ignored, because --config says everything: ${ignored.sort().join(', ')}`);
  return loaded;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ProxyError('INVALID_CONFIGURATION', `cannot read --config ${file}`, (cause as Error).message, { cause });
  }
}

function finish(
  { document, own, warnings, problems }: ReadDocument,
  name: string,
  flags: GivenFlags,
): LoadedConfiguration {
  const fail = (what: string[]): never => {
    throw new ProxyError('INVALID_CONFIGURATION', name, what.join('; '));
  };
  if (problems.length > 0) fail(problems);
  applyFlags(document, flags, 'always');
  const absent = ['healthzBindAddress', 'metricsBindAddress'].filter((field) => document[field] === noServer);
  for (const field of absent) delete document[field];
  const complete = completeDocument(document);
  for (const field of absent) complete[field] = '';
  const checked = checkDocument(complete);
  if (checked.problems.length > 0) fail(checked.problems);
  const made = readSettings(complete, own);
  const override = String(flags['hostname-override'] ?? '');
  if (override !== '' && override.trim() === '')
    throw new ProxyError('INVALID_CONFIGURATION', '--hostname-override', 'must not be blank');
  return {
    ...made,
    hostnameOverride: (override.trim() || made.hostnameOverride).trim().toLowerCase(),
    warnings: [...warnings, ...checked.warnings],
  };
}

/** A configuration as upstream writes it to a file: YAML. */
export async function formatConfiguration({ document }: LoadedConfiguration): Promise<string> {
  const { loadYaml } = await import('../../wire/documents/index.ts');
  return loadYaml().stringify(document);
}
