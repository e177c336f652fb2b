/**
 * Generates src/api/generated/ from the fact tables of the Kubernetes API (api-*.tsv):
 * TypeScript types, the schema table (merge keys, list types), resources, protobuf numbers and Table columns.
 *
 * Usage: node tools/generate-api.ts FACTS_DIRECTORY
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const facts = process.argv[2];
if (!facts) {
  console.error('generate-api: name the directory that holds api-schema.tsv and its neighbours');
  process.exit(2);
}
const out = join(import.meta.dirname, '../src/api/generated');
mkdirSync(out, { recursive: true });

function rows(file: string): string[][] {
  return readFileSync(join(facts!, file), 'utf8')
    .split('\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

interface Field {
  type: string;
  required?: true;
  listType?: string;
  listMapKeys?: string[];
  mapType?: string;
  patchMergeKey?: string;
  patchStrategy?: string;
  default?: unknown;
}
interface Definition {
  type: string;
  gvk?: string;
  mapType?: string;
  fields: Record<string, Field>;
}

function marks(text: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const match of text.matchAll(/([a-z-]+)=("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\{.*?\}|\S+)/g)) {
    found[match[1]!] = JSON.parse(match[2]!);
  }
  return found;
}

function readDefinitions(): Record<string, Definition> {
  const definitions: Record<string, Definition> = {};
  for (const [name, field, type, required, text, gvk] of rows('api-schema.tsv')) {
    const m = marks(text ?? '');
    if (field === '') {
      definitions[name!] = {
        type: type!,
        ...(gvk ? { gvk } : {}),
        ...(m['map-type'] ? { mapType: m['map-type'] as string } : {}),
        fields: {},
      };
      continue;
    }
    definitions[name!]!.fields[field!] = {
      type: type!,
      ...(required === 'required' ? { required: true as const } : {}),
      ...(m['list-type'] ? { listType: m['list-type'] as string } : {}),
      ...(m['list-map-keys'] ? { listMapKeys: m['list-map-keys'] as string[] } : {}),
      ...(m['map-type'] ? { mapType: m['map-type'] as string } : {}),
      ...(m['patch-merge-key'] ? { patchMergeKey: m['patch-merge-key'] as string } : {}),
      ...(m['patch-strategy'] ? { patchStrategy: m['patch-strategy'] as string } : {}),
      ...('default' in m ? { default: m['default'] } : {}),
    };
  }
  return definitions;
}

/** Groups in the order in which they may claim a short type name. */
const preference = [
  'core',
  'meta',
  'apps',
  'batch',
  'discovery',
  'networking',
  'policy',
  'rbac',
  'storage',
  'authentication',
  'authorization',
];

function typeNames(definitions: Record<string, Definition>): Map<string, string> {
  const rank = (name: string): number => {
    const at = preference.indexOf(name.split('.')[0]!);
    return at < 0 ? preference.length : at;
  };
  const names = new Map<string, string>();
  const taken = new Set<string>(['Record', 'Promise', 'Map', 'Set', 'Date']);
  for (const name of Object.keys(definitions).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))) {
    const parts = name.split('.');
    const short = parts.at(-1)!;
    const long = parts.map((part) => part[0]!.toUpperCase() + part.slice(1)).join('');
    const chosen = taken.has(short) ? long : short;
    taken.add(chosen);
    names.set(name, chosen);
  }
  return names;
}

const scalars: Record<string, string> = {
  string: 'string',
  'string:byte': 'string',
  'string:date-time': 'string',
  'string:int-or-string': 'number | string',
  'integer:int32': 'number',
  'integer:int64': 'number',
  integer: 'number',
  'number:double': 'number',
  number: 'number',
  boolean: 'boolean',
  object: 'Record<string, unknown>',
  '': 'unknown',
};
/** Definitions whose JSON form is not an object with the listed fields. */
const special: Record<string, string> = {
  'util.intstr.IntOrString': 'number | string',
  'api.resource.Quantity': 'string',
  'runtime.RawExtension': 'Record<string, any>',
  'meta.v1.FieldsV1': 'Record<string, unknown>',
  'meta.v1.Patch': 'Record<string, unknown>',
  'apiextensions.v1.JSON': 'unknown',
  'apiextensions.v1.JSONSchemaPropsOrBool': 'JSONSchemaProps | boolean',
  'apiextensions.v1.JSONSchemaPropsOrArray': 'JSONSchemaProps | JSONSchemaProps[]',
  'apiextensions.v1.JSONSchemaPropsOrStringArray': 'JSONSchemaProps | string[]',
};

/** Fields that every object read from an API server has, though a client may leave them out when it creates one (see Draft). */
function alwaysPresent(name: string, definition: Definition, field: string): boolean {
  if (name === 'meta.v1.ObjectMeta') return ['name', 'uid', 'resourceVersion', 'creationTimestamp'].includes(field);
  if (name === 'core.v1.PodTemplateSpec') return field === 'spec';
  return definition.gvk !== undefined && (field === 'metadata' || field === 'spec');
}

function writeTypes(definitions: Record<string, Definition>, names: Map<string, string>): void {
  const render = (type: string): string => {
    if (type.startsWith('[]')) {
      const inner = render(type.slice(2));
      return inner.includes('|') ? `(${inner})[]` : `${inner}[]`;
    }
    if (type.startsWith('map<')) return `Record<string, ${render(type.slice(4, -1))}>`;
    const known = scalars[type] ?? names.get(type);
    if (known === undefined) throw new Error(`generate-api: no TypeScript type for ${type}`);
    return known;
  };
  let text = '// Generated by tools/generate-api.ts. The types of the Kubernetes API as JSON carries them.\n\n';
  for (const [name, definition] of Object.entries(definitions)) {
    const fields = Object.entries(definition.fields);
    text += `/** ${name} */\n`;
    if (special[name]) text += `export type ${names.get(name)} = ${special[name]};\n\n`;
    else if (definition.type !== 'object') text += `export type ${names.get(name)} = ${render(definition.type)};\n\n`;
    else {
      text += `export interface ${names.get(name)} {\n`;
      for (const [field, { type, required }] of fields) {
        const key = /^[A-Za-z_$][\w$]*$/.test(field) ? field : JSON.stringify(field);
        const always = required || alwaysPresent(name, definition, field);
        const inner = type === 'meta.v1.ObjectMeta' && !definition.gvk ? 'Partial<ObjectMeta>' : render(type);
        text += `  ${key}${always ? '' : '?'}: ${inner};\n`;
      }
      text += '}\n\n';
    }
  }
  writeFileSync(join(out, 'types.ts'), text);
}

interface ResourceRow {
  group: string;
  version: string;
  plural: string;
  subresource: string;
  kind: string;
  /** Group and version of the kind when they differ from the resource's (scale, eviction, token). */
  kindGroupVersion?: string;
  namespaced: boolean;
  singular: string;
  shortNames: string[];
  categories: string[];
  verbs: string[];
}

function readResources(): ResourceRow[] {
  return rows('api-resources.tsv').map(([gv, path, kind, scope, singular, short, categories, verbs]) => {
    const [group, version] = gv!.includes('/') ? gv!.split('/') : ['', gv];
    const [plural, subresource = ''] = path!.split('/');
    const parts = kind!.split('/');
    const list = (s: string | undefined) => (s ? s.split(',').filter(Boolean) : []);
    return {
      group: group!,
      version: version!,
      plural: plural!,
      subresource,
      kind: parts.at(-1)!,
      ...(parts.length > 1 ? { kindGroupVersion: parts.slice(0, -1).join('/') } : {}),
      namespaced: scope === 'Namespaced',
      singular: singular!,
      shortNames: list(short),
      categories: list(categories),
      verbs: list(verbs),
    };
  });
}

function writeResources(
  resources: ResourceRow[],
  definitions: Record<string, Definition>,
  names: Map<string, string>,
): void {
  const byGvk = new Map<string, string>();
  for (const [name, { gvk }] of Object.entries(definitions))
    for (const one of (gvk ?? '').split(/[ ,]+/)) byGvk.set(one, name);
  let body = '';
  const used = new Set<string>();
  const types = new Set<string>();
  for (const r of resources) {
    if (r.subresource) continue;
    const gv = r.group ? `${r.group}/${r.version}` : r.version;
    const definition = byGvk.get(`${gv}/${r.kind}`);
    if (!definition) continue;
    const type = names.get(definition)!;
    const preferred = r.plural;
    const key = used.has(preferred)
      ? `${preferred}${r.group.split('.')[0]![0]!.toUpperCase()}${r.group.split('.')[0]!.slice(1)}${r.version.toUpperCase()}`
      : preferred;
    used.add(key);
    types.add(type);
    body += `  ${key}: resource<${type}>('${r.group}', '${r.version}', '${r.plural}', '${r.kind}', ${r.namespaced}),\n`;
  }
  const text = `// Generated by tools/generate-api.ts. One typed descriptor for each resource that an API server serves.
import { type Resource, resource } from '../resource.ts';
import type { ${[...types].sort().join(', ')} } from './types.ts';

/** Every built-in resource, by its plural name. */
export const resources = {
${body}} satisfies Record<string, Resource<any>>;
`;
  writeFileSync(join(out, 'resources.ts'), text);
}

const definitions = readDefinitions();
const names = typeNames(definitions);
writeTypes(definitions, names);
writeFileSync(join(out, 'schema.json'), `${JSON.stringify(definitions)}\n`);
const resources = readResources();
writeResources(resources, definitions, names);
writeFileSync(join(out, 'resources.json'), `${JSON.stringify(resources)}\n`);
const protobuf: Record<string, Record<string, [number, string, string]>> = {};
for (const [message, field, number, type, label] of rows('api-protobuf.tsv')) {
  (protobuf[message!] ??= {})[field!] = [Number(number), type!, label ?? ''];
}
writeFileSync(join(out, 'protobuf.json'), `${JSON.stringify(protobuf)}\n`);
const columns: Record<string, { name: string; type: string; format: string; priority: number }[]> = {};
for (const [gv, resource, name, type, format, priority] of rows('api-table-columns.tsv')) {
  (columns[`${gv}/${resource}`] ??= []).push({ name: name!, type: type!, format: format!, priority: Number(priority) });
}
writeFileSync(join(out, 'columns.json'), `${JSON.stringify(columns)}\n`);
console.log(
  `generated ${Object.keys(definitions).length} types, ${resources.length} resources, ${Object.keys(protobuf).length} messages, ${Object.keys(columns).length} tables`,
);
