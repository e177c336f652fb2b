import { decodeStructure, findDuplicateFields, typeNameOf } from '../../../api/schema/index.ts';
import { badRequest } from '../objects/errors.ts';
import type { ResourceInfo } from '../resource-table.ts';
import { StatusError } from '../status-error.ts';

/** What becomes of unknown and duplicate fields. */
export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

/** A body as an object, before its type is checked. */
export interface ParsedBody {
  object: any;
  /** Fields that occur twice, by path. */
  duplicates: string[];
  /** It came as protobuf, which has no unknown fields. */
  binary: boolean;
}

const jsonTypes = new Set(['', 'application/json', 'text/json']);

/**
 * Parses a body of an object.
 * @throws StatusError 400 when it is malformed, 415 for a media type that is not read
 */
export async function parseBody(body: Buffer, contentType: string, validation: FieldValidation): Promise<ParsedBody> {
  if (jsonTypes.has(contentType)) return parseJson(body.toString(), validation);
  if (contentType === 'application/vnd.kubernetes.protobuf') {
    const { decodeProtobufBody, ProtobufError } = await import('../../../api/protobuf/index.ts');
    try {
      return { object: decodeProtobufBody(body), duplicates: [], binary: true };
    } catch (error) {
      if (error instanceof ProtobufError) throw badRequest(error.message);
      throw error;
    }
  }
  if (contentType === 'application/yaml')
    return { object: await parseYaml(body.toString()), duplicates: [], binary: false };
  throw new StatusError(
    415,
    'UnsupportedMediaType',
    'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf',
  );
}

function parseJson(text: string, validation: FieldValidation): ParsedBody {
  let object: unknown;
  try {
    object = JSON.parse(text);
  } catch (error) {
    throw badRequest(`couldn't get version/kind; json parse error: ${(error as Error).message}`);
  }
  if (typeof object !== 'object' || object === null || Array.isArray(object)) {
    const given = Array.isArray(object) ? 'array' : object === null ? 'null' : typeof object;
    throw badRequest(
      `couldn't get version/kind; json parse error: json: cannot unmarshal ${given} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`,
    );
  }
  return { object, duplicates: validation === 'Ignore' ? [] : findDuplicateFields(text), binary: false };
}

/** YAML (or JSON, which is YAML). */
export async function parseYaml(text: string): Promise<any> {
  if (text.trimStart().startsWith('{')) {
    try {
      return JSON.parse(text);
    } catch {
      // It may still be YAML's flow form.
    }
  }
  const yaml = await import('yaml');
  let object: unknown;
  try {
    object = yaml.parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw badRequest(`yaml: ${(error as Error).message.split('\n')[0]}`);
  }
  if (typeof object !== 'object' || object === null || Array.isArray(object)) throw badRequest('yaml: not an object');
  return object;
}

/** The fieldValidation of a request. @throws StatusError 422 for another word */
export function fieldValidationOf(query: URLSearchParams): FieldValidation {
  const value = query.get('fieldValidation') ?? '';
  if (value === '' || value === 'Warn') return 'Warn';
  if (value === 'Strict' || value === 'Ignore') return value;
  throw new StatusError(
    422,
    'Invalid',
    ` "" is invalid: fieldValidation: Invalid value: ${JSON.stringify(value)}: must be one of "", "Ignore", "Warn", "Strict"`,
  );
}

/** What is expected of a body. */
export interface BodyExpectation {
  apiVersion: string;
  kind: string;
  typeName: string;
}

/** What a request to the resource itself holds. */
export function expectationOf(info: ResourceInfo): BodyExpectation {
  return { apiVersion: info.apiVersion, kind: info.kind, typeName: info.typeName };
}

/**
 * Checks a parsed body against its type: kind, types of all values, unknown fields. Returns the warnings to send.
 * @throws StatusError 400 worded as upstream
 */
export function checkBody(parsed: ParsedBody, expected: BodyExpectation, validation: FieldValidation): string[] {
  const { object } = parsed;
  const { apiVersion, kind } = expected;
  if (object.kind !== undefined && typeof object.kind !== 'string') throw badRequest('kind is no text');
  if (!object.kind && !object.apiVersion) Object.assign(object, { apiVersion, kind });
  if (object.kind !== kind || (object.apiVersion ?? apiVersion) !== apiVersion) throw wrongKind(object, expected);
  object.apiVersion ??= apiVersion;
  let unknown: string[];
  try {
    unknown = decodeStructure(object, expected.typeName).unknown;
  } catch (error) {
    const version = apiVersion.split('/').at(-1);
    throw badRequest(
      `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}: ${(error as Error).message}`,
    );
  }
  if (parsed.binary || validation === 'Ignore') return [];
  const texts = [
    ...unknown.map((field) => `unknown field ${JSON.stringify(field)}`),
    ...parsed.duplicates.map((field) => `duplicate field ${JSON.stringify(field)}`),
  ];
  if (texts.length > 0 && validation === 'Strict') {
    const version = apiVersion.split('/').at(-1);
    throw badRequest(
      `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}: strict decoding error: ${texts.join(', ')}`,
    );
  }
  return texts;
}

function wrongKind(object: any, { apiVersion, kind }: BodyExpectation): StatusError {
  const given = object.apiVersion ?? '';
  if (object.kind && typeNameOf(given, object.kind) === undefined) {
    return badRequest(`no kind ${JSON.stringify(object.kind)} is registered for version ${JSON.stringify(given)}`);
  }
  if (given !== apiVersion) {
    return badRequest(`the API version in the data (${given}) does not match the expected API version (${apiVersion})`);
  }
  return badRequest(
    `the object provided is unrecognized (must be of type ${kind}): it is of type ${object.kind ?? ''}`,
  );
}
