import { loadYaml, plainJson } from '../../wire/documents/index.ts';
import { ProxyError } from '../errors.ts';
import { parseDuration } from './duration.ts';
import { type ConfigurationField, configurationFields, type FieldType } from './fields.ts';
import { ownApiVersion, ownFields, ownKind } from './own-fields.ts';

type Document = Record<string, any>;

/** A configuration file whose fields have the right types; what it does not say is not in it. */
export interface ReadDocument {
  document: Document;
  own: Document;
  warnings: string[];
  /** All of them are told at once. */
  problems: string[];
}

const apiVersion = 'kubeproxy.config.k8s.io/v1alpha1';
const kind = 'KubeProxyConfiguration';

/**
 * Reads a KubeProxyConfiguration, and a ProxyOptions behind it where there is one, from YAML or JSON. As upstream reads it:
 * unknown fields and fields that are there twice are told and passed over, wrong types are problems.
 * @throws ProxyError INVALID_CONFIGURATION when it is neither YAML nor JSON
 */
export function readDocument(text: string, name: string): ReadDocument {
  const made: ReadDocument = { document: {}, own: {}, warnings: [], problems: [] };
  const [first, ...others] = parse(text, name, made.warnings);
  if (first?.['apiVersion'] !== apiVersion) made.problems.push(`apiVersion: must be ${apiVersion}`);
  if (first?.['kind'] !== kind) made.problems.push(`kind: must be ${kind}`);
  if (made.problems.length > 0) return made;
  made.document = pick(first!, configurationFields, '', made);
  for (const one of others) {
    if (one['apiVersion'] === ownApiVersion && one['kind'] === ownKind) made.own = pick(one, ownFields, '', made);
    else made.problems.push(`a further document must be ${ownApiVersion} ${ownKind}, not ${one['kind']}`);
  }
  return made;
}

function parse(text: string, name: string, warnings: string[]): Document[] {
  const fail = (message: string): never => {
    throw new ProxyError('INVALID_CONFIGURATION', name, message);
  };
  let values: unknown[];
  const json = plainJson(text);
  if (json !== undefined) values = [json];
  else {
    const { parseAllDocuments } = loadYaml();
    const documents = [...parseAllDocuments(text, { uniqueKeys: false })];
    for (const { errors } of documents) if (errors[0]) fail(`not YAML: ${errors[0].message.split('\n')[0]}`);
    for (const { errors } of parseAllDocuments(text, { uniqueKeys: true }))
      if (errors[0]) warnings.push(`a field is there twice, the last one counts: ${errors[0].message.split('\n')[0]}`);
    values = documents.map((document) => document.toJS()).filter((value) => value !== null);
  }
  for (const value of values)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) fail('must be an object');
  return values as Document[];
}

/** The known fields of an object, with what is wrong about the others. */
function pick(
  given: Document,
  fields: Readonly<Record<string, ConfigurationField>>,
  prefix: string,
  made: ReadDocument,
): Document {
  const picked: Document = {};
  for (const [name, value] of Object.entries(given)) {
    const path = `${prefix}${name}`;
    if (path === 'apiVersion' || path === 'kind' || value === null || value === undefined) continue;
    const field = Object.hasOwn(fields, path) ? fields[path] : undefined;
    const isSection = Object.keys(fields).some((other) => other.startsWith(`${path}.`));
    if (!field && !isSection) made.warnings.push(`unknown field "${path}"`);
    else if (!isOfType(value, field?.type ?? 'object'))
      made.problems.push(`${path}: must be ${described[field?.type ?? 'object']}`);
    else picked[name] = field ? value : pick(value, fields, `${path}.`, made);
  }
  return picked;
}

const described: Readonly<Record<FieldType, string>> = {
  string: 'a string',
  boolean: 'true or false',
  integer: 'an integer',
  number: 'a number',
  duration: 'a duration such as 30s or 1m30s',
  strings: 'a list of strings',
  flags: 'names with true or false',
  object: 'an object',
};

function isOfType(value: any, type: FieldType): boolean {
  const isObject = typeof value === 'object' && !Array.isArray(value);
  const checks: Record<FieldType, () => boolean> = {
    string: () => typeof value === 'string',
    boolean: () => typeof value === 'boolean',
    number: () => typeof value === 'number',
    integer: () => Number.isInteger(value) && Math.abs(value) <= 2 ** 31,
    duration: () => (typeof value === 'string' && parseDuration(value) !== undefined) || value === 0,
    strings: () => Array.isArray(value) && value.every((one) => typeof one === 'string'),
    flags: () => isObject && Object.values(value).every((one) => typeof one === 'boolean'),
    object: () => isObject,
  };
  return checks[type]();
}
