import { type FieldSchema, type Shape, typeNamed } from '../../../api/schema/index.ts';

type JsonObject = Record<string, unknown>;

/** OpenAPI 3 keeps schemas under components, Swagger 2 under definitions. */
export type OpenApiDialect = 'v2' | 'v3';

/** The public name of a type: `core.v1.Pod` is `io.k8s.api.core.v1.Pod`. */
export function publicName(name: string): string {
  const room = name.split('.')[0]!;
  switch (room) {
    case 'meta':
      return `io.k8s.apimachinery.pkg.apis.${name}`;
    case 'api':
    case 'util':
    case 'runtime':
      return `io.k8s.apimachinery.pkg.${name}`;
    case 'apiextensions':
      return `io.k8s.apiextensions-apiserver.pkg.apis.${name}`;
    case 'apiregistration':
      return `io.k8s.kube-aggregator.pkg.apis.${name}`;
    default:
      return `io.k8s.api.${name}`;
  }
}

const leafTypes: Partial<Record<Shape['kind'], string>> = {
  quantity: 'api.resource.Quantity',
  time: 'meta.v1.Time',
  microTime: 'meta.v1.MicroTime',
  intOrString: 'util.intstr.IntOrString',
};

/** What types become. `seen` gathers the names of all that are referred to. */
export class SchemaWriter {
  readonly #dialect: OpenApiDialect;
  readonly seen = new Set<string>();

  constructor(dialect: OpenApiDialect) {
    this.#dialect = dialect;
  }

  /** A reference to a type. */
  reference(name: string): JsonObject {
    this.seen.add(name);
    const place = this.#dialect === 'v3' ? '#/components/schemas/' : '#/definitions/';
    return { $ref: place + publicName(name) };
  }

  /** The schema of a type. */
  schema(name: string): JsonObject {
    const leaf = this.#leaf(name);
    if (leaf) return leaf;
    const type = typeNamed(name);
    if (!type) return { type: 'object' };
    const properties: JsonObject = {};
    const required: string[] = [];
    for (const [field, one] of type.fields) {
      properties[field] = this.#property(one);
      if (one.required) required.push(field);
    }
    return {
      type: 'object',
      ...(type.fields.size > 0 ? { properties } : {}),
      ...(required.length > 0 ? { required } : {}),
      ...(type.mapType ? { 'x-kubernetes-map-type': type.mapType } : {}),
      ...(type.gvk ? { 'x-kubernetes-group-version-kind': [gvkOf(type.gvk)] } : {}),
    };
  }

  #leaf(name: string): JsonObject | undefined {
    switch (name) {
      case 'meta.v1.Time':
      case 'meta.v1.MicroTime':
        return { type: 'string', format: 'date-time' };
      case 'api.resource.Quantity':
        return this.#dialect === 'v3' ? { oneOf: [{ type: 'string' }, { type: 'number' }] } : { type: 'string' };
      case 'util.intstr.IntOrString':
        return this.#dialect === 'v3'
          ? { format: 'int-or-string', oneOf: [{ type: 'integer' }, { type: 'string' }] }
          : { type: 'string', format: 'int-or-string' };
      default:
        return undefined;
    }
  }

  #property(field: FieldSchema): JsonObject {
    const { listType, listMapKeys, mapType, patchMergeKey, patchStrategy } = field;
    const shape = this.#shape(field.shape);
    const extensions: JsonObject = {
      ...(listType ? { 'x-kubernetes-list-type': listType } : {}),
      ...(listMapKeys ? { 'x-kubernetes-list-map-keys': listMapKeys } : {}),
      ...(mapType ? { 'x-kubernetes-map-type': mapType } : {}),
      ...(patchMergeKey ? { 'x-kubernetes-patch-merge-key': patchMergeKey } : {}),
      ...(patchStrategy.length > 0 ? { 'x-kubernetes-patch-strategy': patchStrategy.join(',') } : {}),
    };
    // In OpenAPI 3.0 nothing may stand beside a reference.
    if ('$ref' in shape && this.#dialect === 'v3') return { allOf: [shape], default: {}, ...extensions };
    return { ...shape, ...extensions };
  }

  #shape(shape: Shape): JsonObject {
    const leaf = leafTypes[shape.kind];
    if (leaf) return this.reference(leaf);
    switch (shape.kind) {
      case 'bytes':
        return { type: 'string', format: 'byte' };
      case 'boolean':
        return { type: 'boolean' };
      case 'number':
        return { type: 'number', format: 'double' };
      case 'integer':
        return { type: 'integer', format: `int${shape.bits}` };
      case 'any':
        return {};
      case 'anyObject':
        return { type: 'object' };
      case 'object':
        return this.reference(shape.name);
      case 'list':
        return { type: 'array', items: this.#inner(shape.item) };
      case 'map':
        return { type: 'object', additionalProperties: this.#inner(shape.value) };
      default:
        return { type: 'string' };
    }
  }

  #inner(shape: Shape): JsonObject {
    const inner = this.#shape(shape);
    return '$ref' in inner && this.#dialect === 'v3' ? { allOf: [inner], default: {} } : inner;
  }
}

/** `apps/v1/Deployment` or `v1/Pod` in parts. */
export function gvkOf(text: string): { group: string; version: string; kind: string } {
  const [kind = '', version = '', group = ''] = text.split('/').reverse();
  return { group, kind, version } as { group: string; version: string; kind: string };
}
