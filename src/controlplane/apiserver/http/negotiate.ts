import { StatusError } from '../status-error.ts';

/** The form in which objects are answered. */
export type ObjectForm = 'object' | 'table' | 'partial';

/** What the client accepts, decided. */
export interface Encoding {
  form: ObjectForm;
  yaml: boolean;
  pretty: boolean;
  /** What a table's rows carry: Metadata (default), Object, None. */
  includeObject: 'Metadata' | 'Object' | 'None';
}

const metaGroup = 'meta.k8s.io';
const accepted = 'application/json, application/yaml';

/** One entry of an Accept header. */
export interface AcceptEntry {
  type: string;
  parameters: Record<string, string>;
}

/** The entries of an Accept header in their order (the weights of clients of this API follow the order). */
export function parseAccept(header: string | undefined): AcceptEntry[] {
  if (!header) return [{ type: '*/*', parameters: {} }];
  return header.split(',').map((entry) => {
    const [type = '', ...rest] = entry.split(';').map((part) => part.trim());
    const parameters: Record<string, string> = {};
    for (const parameter of rest) {
      const [key = '', value = ''] = parameter.split('=');
      parameters[key.trim()] = value.trim();
    }
    return { type: type.toLowerCase(), parameters };
  });
}

const cache = new Map<string, Encoding | undefined>();

/**
 * Chooses the form of the answer. `forms` is what the resource can be shown as.
 * @throws StatusError 406 when nothing that the client accepts can be made
 */
export function negotiate(header: string | undefined, query: URLSearchParams, userAgent: string | undefined): Encoding {
  const key = header ?? '';
  let chosen = cache.get(key);
  if (!chosen && !cache.has(key)) {
    chosen = choose(parseAccept(header));
    if (cache.size > 500) cache.clear();
    cache.set(key, chosen);
  }
  if (!chosen) {
    throw new StatusError(406, 'NotAcceptable', `only the following media types are accepted: ${accepted}`);
  }
  const wanted = query.get('pretty');
  const pretty =
    wanted === null ? /^(?:curl|Wget)\b|Mozilla/.test(userAgent ?? '') : wanted !== 'false' && wanted !== '0';
  const include = query.get('includeObject');
  if (include === null && !pretty) return chosen;
  const includeObject = include === 'Object' || include === 'None' ? include : 'Metadata';
  return { ...chosen, pretty, includeObject };
}

function choose(entries: AcceptEntry[]): Encoding | undefined {
  for (const { type, parameters } of entries) {
    const yaml = type === 'application/yaml';
    if (!yaml && type !== 'application/json' && type !== '*/*' && type !== 'application/*') continue;
    const form = formOf(parameters);
    if (form) return { form, yaml, pretty: false, includeObject: 'Metadata' };
  }
  return undefined;
}

/** Undefined for a form that is not served. */
function formOf(parameters: Record<string, string>): ObjectForm | undefined {
  const { as, g, v } = parameters;
  if (as === undefined) return 'object';
  if (g !== metaGroup || v !== 'v1') return undefined;
  if (as === 'Table') return 'table';
  return as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList' ? 'partial' : undefined;
}
