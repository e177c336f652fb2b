/**
 * The shapes of the API's types, read from the generated table: what a field may hold, how lists and maps merge.
 * Types are named `group.version.Kind` in short form (`core.v1.Pod`, `meta.v1.ObjectMeta`).
 */
import resourceTable from '../generated/resources.json' with { type: 'json' };
import schemaTable from '../generated/schema.json' with { type: 'json' };

/** What a value may be. */
export type Shape =
  | {
      kind:
        | 'string'
        | 'bytes'
        | 'boolean'
        | 'number'
        | 'any'
        | 'anyObject'
        | 'time'
        | 'microTime'
        | 'quantity'
        | 'intOrString';
    }
  | { kind: 'integer'; bits: 32 | 64 }
  | { kind: 'object'; name: string }
  | { kind: 'list'; item: Shape }
  | { kind: 'map'; value: Shape };

/** One field of a type. */
export interface FieldSchema {
  shape: Shape;
  required: boolean;
  listType?: 'atomic' | 'set' | 'map';
  listMapKeys?: string[];
  mapType?: 'atomic' | 'granular';
  patchMergeKey?: string;
  /** Any of merge, replace, retainKeys. */
  patchStrategy: readonly string[];
}

/** A type with fields. */
export interface TypeSchema {
  name: string;
  fields: Map<string, FieldSchema>;
  mapType?: 'atomic' | 'granular';
  /** `v1/Pod`, `apps/v1/Deployment`; only of whole objects. */
  gvk?: string;
}

interface RawField {
  type: string;
  required?: boolean;
  listType?: string;
  listMapKeys?: string[];
  patchMergeKey?: string;
  patchStrategy?: string;
  mapType?: string;
}
interface RawType {
  type: string;
  mapType?: string;
  gvk?: string;
  fields: Record<string, RawField>;
}
const rawTypes = schemaTable as unknown as Record<string, RawType>;

const leaves: Record<string, Shape> = {
  string: { kind: 'string' },
  'string:byte': { kind: 'bytes' },
  boolean: { kind: 'boolean' },
  'integer:int32': { kind: 'integer', bits: 32 },
  'integer:int64': { kind: 'integer', bits: 64 },
  'number:double': { kind: 'number' },
  'meta.v1.Time': { kind: 'time' },
  'meta.v1.MicroTime': { kind: 'microTime' },
  'api.resource.Quantity': { kind: 'quantity' },
  'util.intstr.IntOrString': { kind: 'intOrString' },
  'runtime.RawExtension': { kind: 'anyObject' },
  'meta.v1.FieldsV1': { kind: 'anyObject' },
  'apiextensions.v1.JSON': { kind: 'any' },
  'apiextensions.v1.JSONSchemaPropsOrArray': { kind: 'any' },
  'apiextensions.v1.JSONSchemaPropsOrBool': { kind: 'any' },
  'apiextensions.v1.JSONSchemaPropsOrStringArray': { kind: 'any' },
  'apiextensions.v1.CustomResourceSubresourceStatus': { kind: 'anyObject' },
};

function parseShape(text: string): Shape {
  if (text.startsWith('[]')) return { kind: 'list', item: parseShape(text.slice(2)) };
  if (text.startsWith('map<')) return { kind: 'map', value: parseShape(text.slice(4, -1)) };
  return leaves[text] ?? { kind: 'object', name: text };
}

const cache = new Map<string, TypeSchema>();

/** The type of that name, or undefined. */
export function typeNamed(name: string): TypeSchema | undefined {
  const known = cache.get(name);
  if (known) return known;
  const raw = rawTypes[name];
  if (!raw) return undefined;
  const fields = new Map<string, FieldSchema>();
  for (const [field, one] of Object.entries(raw.fields)) {
    fields.set(field, {
      shape: parseShape(one.type),
      required: one.required ?? false,
      patchStrategy: one.patchStrategy ? one.patchStrategy.split(',') : [],
      ...(one.listType ? { listType: one.listType as 'atomic' } : {}),
      ...(one.listMapKeys ? { listMapKeys: one.listMapKeys } : {}),
      ...(one.mapType ? { mapType: one.mapType as 'atomic' } : {}),
      ...(one.patchMergeKey ? { patchMergeKey: one.patchMergeKey } : {}),
    });
  }
  const type: TypeSchema = {
    name,
    fields,
    ...(raw.mapType ? { mapType: raw.mapType as 'atomic' } : {}),
    ...(raw.gvk && raw.gvk !== '(many)' ? { gvk: raw.gvk } : {}),
  };
  cache.set(name, type);
  return type;
}

let byGvk: Map<string, string> | undefined;

/** The type name of an object with this apiVersion and kind, or undefined: `apps/v1`, `Deployment` → `apps.v1.Deployment`. */
export function typeNameOf(apiVersion: string, kind: string): string | undefined {
  if (!byGvk) {
    byGvk = new Map();
    for (const [name, raw] of Object.entries(rawTypes)) if (raw.gvk) byGvk.set(raw.gvk, name);
  }
  return byGvk.get(`${apiVersion}/${kind}`) ?? (kind === 'DeleteOptions' ? 'meta.v1.DeleteOptions' : undefined);
}

/** Names of all types, for documents that list them. */
export function typeNames(): string[] {
  return Object.keys(rawTypes);
}

/** One row of the resources table: a resource, or a subresource of one. */
export interface ResourceRow {
  group: string;
  version: string;
  plural: string;
  /** Empty for the resource itself. */
  subresource: string;
  kind: string;
  namespaced: boolean;
  singular: string;
  shortNames: string[];
  categories: string[];
  verbs: string[];
  /** `group/version` of the kind when it is not the resource's (scale, eviction, token). */
  kindGroupVersion?: string;
}

/** Every resource and subresource that the API serves, in the order of discovery. */
export const resourceRows = resourceTable as unknown as ResourceRow[];
