/**
 * Kubernetes' protobuf bodies as the objects that JSON would carry, by a table of field numbers. A body is the four bytes
 * `k8s\0` and a runtime.Unknown, which names apiVersion and kind and holds the message.
 */
import protobufTable from '../generated/protobuf.json' with { type: 'json' };
import { type TypeSchema, typeNamed, typeNameOf } from '../schema/index.ts';
import { ProtobufError, WireReader } from './wire-reader.ts';

type JsonObject = Record<string, any>;

const table = protobufTable as unknown as Record<string, Record<string, [number, string, string]>>;
const magic = [0x6b, 0x38, 0x73, 0x00];

/** Whether the bytes begin like a Kubernetes protobuf body. */
export function isProtobufBody(bytes: Uint8Array): boolean {
  return magic.every((byte, index) => bytes[index] === byte);
}

/**
 * Decodes a body into an object with apiVersion and kind.
 * @throws ProtobufError when it is malformed or of a type that is not in the table
 */
export function decodeProtobufBody(bytes: Uint8Array): JsonObject {
  if (!isProtobufBody(bytes)) {
    throw new ProtobufError('provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]');
  }
  const envelope = decodeMessage(new WireReader(bytes, 4), 'runtime.Unknown');
  const apiVersion: string = envelope['typeMeta']?.apiVersion ?? '';
  const kind: string = envelope['typeMeta']?.kind ?? '';
  const name = typeNameOf(apiVersion, kind);
  if (!name || !table[name]) {
    throw new ProtobufError(`no kind "${kind}" is registered for version "${apiVersion}" in protobuf`);
  }
  const raw = (envelope['rawBytes'] as Uint8Array | undefined) ?? new Uint8Array();
  return { apiVersion, kind, ...decodeMessage(new WireReader(raw), name) };
}

/** How a field of a message is read and where it goes. */
interface Plan {
  type: string;
  repeated: boolean;
  /** Key in the JSON object; undefined when the message's own fields go to its parent (an embedded struct). */
  json: string | undefined;
  /** The empty value means absent. */
  dropEmpty: boolean;
}

const plans = new Map<string, Map<number, Plan>>();

function planOf(name: string): Map<number, Plan> {
  let plan = plans.get(name);
  if (plan) return plan;
  const fields = table[name];
  if (!fields) throw new ProtobufError(`no protobuf message "${name}" is known`);
  plan = new Map();
  const packageName = name.slice(0, name.lastIndexOf('.'));
  const type = typeNamed(name);
  for (const [field, [number, rawType, label]] of Object.entries(fields)) {
    const resolved = resolveType(rawType, packageName);
    plan.set(number, {
      type: resolved,
      repeated: label === 'repeated',
      json: jsonName(type, name, field),
      dropEmpty: dropsEmpty(type, name, field, resolved),
    });
  }
  plans.set(name, plan);
  return plan;
}

const scalars = new Set(['string', 'bool', 'bytes', 'int32', 'int64', 'double']);

function resolveType(type: string, packageName: string): string {
  const map = /^map<string,(.*)>$/.exec(type);
  if (map) return `map:${resolveType(map[1]!, packageName)}`;
  return scalars.has(type) || type.includes('.') ? type : `${packageName}.${type}`;
}

/** Protobuf names that differ from JSON's otherwise than by case. */
const renamed: Record<string, string> = {
  'apiextensions.v1.JSONSchemaProps.schema': '$schema',
  'apiextensions.v1.JSONSchemaProps.ref': '$ref',
};

function jsonName(type: TypeSchema | undefined, name: string, field: string): string | undefined {
  if (!type || type.fields.has(field) || name in specials) return field;
  const known = renamed[`${name}.${field}`];
  if (known) return known;
  if (field.startsWith('xKubernetes')) return field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const lower = field.toLowerCase();
  for (const candidate of type.fields.keys()) if (candidate.toLowerCase() === lower) return candidate;
  return undefined;
}

/** Text fields that are pointers: their empty text is a value. */
const meaningfulEmptyText = new Set(['storageClassName', 'ingressClassName', 'volumeAttributesClassName']);
/** Numbers that are no pointers and have a default: their zero means that the sender left them out. */
const zeroMeansAbsent = new Set([
  'core.v1.Probe.timeoutSeconds',
  'core.v1.Probe.periodSeconds',
  'core.v1.Probe.successThreshold',
  'core.v1.Probe.failureThreshold',
  'core.v1.ServicePort.nodePort',
  'core.v1.ServicePort.targetPort',
  'core.v1.ServiceSpec.healthCheckNodePort',
  'core.v1.ContainerPort.hostPort',
  'core.v1.Event.count',
  'core.v1.HTTPGetAction.port',
  'meta.v1.ObjectMeta.generation',
]);

/** Go writes fields that are no pointers even when they are empty. */
function dropsEmpty(type: TypeSchema | undefined, name: string, field: string, resolved: string): boolean {
  if (zeroMeansAbsent.has(`${name}.${field}`)) return true;
  if (resolved === 'string') return !type?.fields.get(field)?.required && !meaningfulEmptyText.has(field);
  return resolved === 'meta.v1.Time' || resolved === 'meta.v1.MicroTime';
}

function decodeMessage(reader: WireReader, name: string): JsonObject {
  const plan = planOf(name);
  const object: JsonObject = {};
  while (!reader.done) {
    const { field, wire } = reader.tag();
    const one = plan.get(field);
    if (!one) {
      reader.skip(wire);
      continue;
    }
    readField(reader, wire, one, object, name);
  }
  return object;
}

function readField(reader: WireReader, wire: number, plan: Plan, object: JsonObject, name: string): void {
  if (plan.type.startsWith('map:')) {
    const entry = readMapEntry(new WireReader(reader.bytes()), plan.type.slice(4));
    const key = plan.json!;
    object[key] ??= {};
    object[key][entry.key] = entry.value;
    return;
  }
  if (plan.json === undefined) {
    Object.assign(object, decodeMessage(new WireReader(reader.bytes()), plan.type));
    return;
  }
  if (name === 'runtime.Unknown' && plan.json === 'raw') {
    object['rawBytes'] = reader.bytes();
    return;
  }
  if (plan.repeated) {
    object[plan.json] ??= [];
    // Numbers may come packed.
    if (wire === 2 && (plan.type === 'int32' || plan.type === 'int64' || plan.type === 'bool')) {
      const packed = new WireReader(reader.bytes());
      while (!packed.done) object[plan.json].push(readValue(packed, 0, plan.type));
    } else object[plan.json].push(readValue(reader, wire, plan.type));
    return;
  }
  const value = readValue(reader, wire, plan.type);
  if (value === undefined || (plan.dropEmpty && (value === '' || value === 0))) return;
  object[plan.json] = value;
}

function readMapEntry(reader: WireReader, type: string): { key: string; value: unknown } {
  let key = '';
  let value: unknown = type === 'string' || type === 'bytes' ? '' : {};
  while (!reader.done) {
    const { field, wire } = reader.tag();
    if (field === 1) key = reader.text();
    else if (field === 2) value = readValue(reader, wire, type);
    else reader.skip(wire);
  }
  return { key, value };
}

const expectedWire: Record<string, number> = { int32: 0, int64: 0, bool: 0, double: 1 };

function readValue(reader: WireReader, wire: number, type: string): unknown {
  if (wire !== (expectedWire[type] ?? 2))
    throw new ProtobufError(`wrong wireType = ${wire} for a field of type ${type}`);
  switch (type) {
    case 'string':
      return reader.text();
    case 'int32':
    case 'int64':
      return reader.integer();
    case 'bool':
      return reader.varint() !== 0n;
    case 'double':
      return reader.double();
    case 'bytes':
      return toBase64(reader.bytes());
  }
  const message = new WireReader(reader.bytes());
  const special = specials[type];
  return special ? special(decodeMessage(message, type)) : decodeMessage(message, type);
}

/** Messages that JSON writes otherwise than field by field. */
const specials: Record<string, (message: JsonObject) => unknown> = {
  'meta.v1.Time': (time) => formatTime(time, 0),
  'meta.v1.MicroTime': (time) => formatTime(time, 6),
  'meta.v1.Duration': (duration) => `${(duration['duration'] ?? 0) / 1e9}s`,
  'meta.v1.FieldsV1': (fields) => parseRaw(fields['Raw']),
  'meta.v1.Verbs': (verbs) => verbs['items'] ?? [],
  'api.resource.Quantity': (quantity) => quantity['string'] ?? '0',
  'util.intstr.IntOrString': (value) => (value['type'] === 1 ? (value['strVal'] ?? '') : (value['intVal'] ?? 0)),
  'runtime.RawExtension': (extension) => parseRaw(extension['raw']),
  'apiextensions.v1.JSON': (json) => parseRaw(json['raw']),
  'apiextensions.v1.JSONSchemaPropsOrArray': (one) => one['schema'] ?? one['jSONSchemas'] ?? [],
  'apiextensions.v1.JSONSchemaPropsOrBool': (one) => one['schema'] ?? one['allows'] ?? false,
  'apiextensions.v1.JSONSchemaPropsOrStringArray': (one) => one['schema'] ?? one['property'] ?? [],
  'authentication.v1.ExtraValue': (extra) => extra['items'] ?? [],
  'authorization.v1.ExtraValue': (extra) => extra['items'] ?? [],
  'certificates.v1.ExtraValue': (extra) => extra['items'] ?? [],
};

/** RFC 3339 with so many digits after the second; undefined for Go's zero time, which JSON writes as null. */
function formatTime(time: JsonObject, digits: number): string | undefined {
  const seconds: number | undefined = time['seconds'];
  if (seconds === undefined || seconds <= -62135596800) return undefined;
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  if (digits === 0) return `${whole}Z`;
  const fraction = String(time['nanos'] ?? 0)
    .padStart(9, '0')
    .slice(0, digits);
  return `${whole}.${fraction}Z`;
}

/** The JSON inside a bytes field (already base64). */
function parseRaw(base64: string | undefined): unknown {
  if (!base64) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(base64)));
  } catch (error) {
    throw new ProtobufError('a raw field holds no JSON', { cause: error });
  }
}

function toBase64(bytes: Uint8Array): string {
  return bytes.toBase64();
}
