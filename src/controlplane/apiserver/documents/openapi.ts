import { createHash } from 'node:crypto';
import { resourceRows, typeNamed, typeNameOf, typeNames } from '../../../api/schema/index.ts';
import type { IncomingMessage, ServerResponse } from '../../../wire/http/index.ts';
import { send, sendJson } from '../http/respond.ts';
import type { ResourceInfo, ResourceTable } from '../resource-table.ts';
import { type OpenApiDialect, publicName, SchemaWriter } from './openapi-schemas.ts';
import { versionInfo } from './version.ts';

type JsonObject = Record<string, unknown>;

/** Counts changes of what this file makes, so that clients do not keep documents of older servers. */
const generation = 1;

const documents = new Map<string, Buffer>();
let fingerprint: string | undefined;

/** Answers `/openapi/v2`, `/openapi/v3` and `/openapi/v3/{group version}`; false when there is no such document. */
export function serveOpenApi(
  resources: ResourceTable,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
): boolean {
  const path = url.pathname;
  if (path === '/openapi/v3' || path === '/openapi/v3/') {
    sendJson(response, 200, { paths: indexOf(resources) });
    return true;
  }
  const key = path === '/openapi/v2' ? 'v2' : path.slice('/openapi/v3/'.length);
  const infos = resources.all().filter((info) => key === 'v2' || pathOf(info) === key);
  if (infos.length === 0) return false;
  const etag = `"${hashOf(key)}"`;
  response.setHeader('Etag', etag);
  if (url.searchParams.get('hash') === hashOf(key)) response.setHeader('Cache-Control', 'public, immutable');
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304).end();
    return true;
  }
  if (key === 'v2' && /proto-openapi\.spec\.v2/.test(request.headers.accept ?? '')) {
    send(response, 200, 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf', bareSwagger());
    return true;
  }
  let body = documents.get(key);
  if (!body) {
    body = Buffer.from(JSON.stringify(key === 'v2' ? swagger(infos) : documentOf(infos)));
    documents.set(key, body);
  }
  send(response, 200, 'application/json', body);
  return true;
}

/**
 * The version 2 document in protobuf (swagger = 1, info = 2 with title = 1 and version = 2, paths = 8), without any
 * definition. kubectl asks for it only about kinds that version 3 does not know, to find that they are unknown here too.
 */
function bareSwagger(): Buffer {
  const field = (number: number, content: string | Buffer): Buffer => {
    const bytes = Buffer.from(content as string);
    return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  };
  const info = Buffer.concat([field(1, 'Kubernetes'), field(2, versionInfo.gitVersion)]);
  return Buffer.concat([field(1, '2.0'), field(2, info), field(8, '')]);
}

/** `api/v1` or `apis/apps/v1`. */
function pathOf(info: ResourceInfo): string {
  return info.group === '' ? `api/${info.version}` : `apis/${info.apiVersion}`;
}

function indexOf(resources: ResourceTable): JsonObject {
  const paths: JsonObject = {};
  for (const info of resources.all()) {
    const path = pathOf(info);
    paths[path] ??= { serverRelativeURL: `/openapi/v3/${path}?hash=${hashOf(path)}` };
  }
  return paths;
}

/** Changes when the tables, this code or the document's name change. */
function hashOf(key: string): string {
  fingerprint ??= createHash('sha256')
    .update(JSON.stringify(resourceRows))
    .update(
      typeNames()
        .map((name) => `${name} ${[...(typeNamed(name)?.fields.keys() ?? [])]}`)
        .join('\n'),
    )
    .digest('hex');
  return createHash('sha256').update(`${generation} ${fingerprint} ${key}`).digest('hex').slice(0, 32).toUpperCase();
}

const info = { title: 'Kubernetes', version: versionInfo.gitVersion };

function documentOf(infos: ResourceInfo[]): JsonObject {
  const writer = new SchemaWriter('v3');
  const paths = pathsOf(infos, writer, 'v3');
  return { openapi: '3.0.0', info, paths, components: { schemas: schemasOf(writer) } };
}

function swagger(infos: ResourceInfo[]): JsonObject {
  const writer = new SchemaWriter('v2');
  const paths = pathsOf(infos, writer, 'v2');
  return { swagger: '2.0', info, paths, definitions: schemasOf(writer) };
}

/** Every type that was referred to, and those that these refer to. */
function schemasOf(writer: SchemaWriter): JsonObject {
  const schemas: JsonObject = {};
  for (const name of writer.seen) schemas[publicName(name)] = writer.schema(name);
  return schemas;
}

function pathsOf(infos: ResourceInfo[], writer: SchemaWriter, dialect: OpenApiDialect): JsonObject {
  const paths: JsonObject = {};
  const operations = new OperationWriter(writer, dialect);
  for (const one of infos) {
    const base = `/${pathOf(one)}`;
    const collection = one.namespaced ? `${base}/namespaces/{namespace}/${one.plural}` : `${base}/${one.plural}`;
    const listName = typeNameOf(one.apiVersion, `${one.kind}List`);
    paths[collection] = operations.item(
      one,
      one.kind,
      one.apiVersion,
      { list: 'get', create: 'post', deletecollection: 'delete' },
      one.verbs,
      listName,
    );
    if (one.namespaced && one.verbs.includes('list')) {
      paths[`${base}/${one.plural}`] = operations.item(
        one,
        one.kind,
        one.apiVersion,
        { list: 'get' },
        one.verbs,
        listName,
      );
    }
    if (one.verbs.includes('get')) {
      paths[`${collection}/{name}`] = operations.item(one, one.kind, one.apiVersion, itemVerbs, one.verbs);
    }
    for (const row of one.subresources.values()) {
      const verbs = { ...itemVerbs, create: 'post' };
      paths[`${collection}/{name}/${row.subresource}`] = operations.item(
        one,
        row.kind,
        row.kindGroupVersion ?? one.apiVersion,
        verbs,
        row.verbs,
      );
    }
  }
  return paths;
}

const itemVerbs = { get: 'get', update: 'put', patch: 'patch', delete: 'delete' };
const patchTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];
const actions: Record<string, string> = { create: 'post', update: 'put' };

/** Writes the operations of one path. */
class OperationWriter {
  readonly #writer: SchemaWriter;
  readonly #dialect: OpenApiDialect;

  constructor(writer: SchemaWriter, dialect: OpenApiDialect) {
    this.#writer = writer;
    this.#dialect = dialect;
  }

  /** `methods` says which verbs the path has and by which HTTP method. */
  item(
    resource: ResourceInfo,
    kind: string,
    apiVersion: string,
    methods: Record<string, string>,
    verbs: readonly string[],
    answer?: string,
  ): JsonObject {
    const item: JsonObject = {};
    const typeName = typeNameOf(apiVersion, kind);
    const [version = '', group = ''] = apiVersion.split('/').reverse();
    for (const [verb, method] of Object.entries(methods)) {
      if (!verbs.includes(verb)) continue;
      const result = verb === 'list' ? answer : verb.startsWith('delete') ? 'meta.v1.Status' : typeName;
      item[method] = {
        operationId: `${verb}-${resource.apiVersion}-${resource.plural}-${kind}`,
        'x-kubernetes-action': actions[verb] ?? verb,
        'x-kubernetes-group-version-kind': { group, version, kind },
        ...this.#body(verb, typeName),
        responses: { 200: this.#content('OK', result) },
      };
    }
    const names = resource.namespaced ? ['namespace', 'name'] : ['name'];
    item['parameters'] = names.map((name) => ({ name, in: 'path', required: true, ...this.#type('string') }));
    return item;
  }

  #type(type: string): JsonObject {
    return this.#dialect === 'v3' ? { schema: { type, uniqueItems: true } } : { type, uniqueItems: true };
  }

  #content(description: string, typeName: string | undefined): JsonObject {
    const schema = typeName ? this.#writer.reference(typeName) : { type: 'string' };
    return this.#dialect === 'v3'
      ? { description, content: { 'application/json': { schema } } }
      : { description, schema };
  }

  #body(verb: string, typeName: string | undefined): JsonObject {
    const query = (names: string[]) => names.map((name) => ({ name, in: 'query', ...this.#type('string') }));
    if (verb !== 'create' && verb !== 'update' && verb !== 'patch') {
      return verb.startsWith('delete')
        ? { parameters: query(['dryRun', 'gracePeriodSeconds', 'propagationPolicy']) }
        : {};
    }
    const names = ['dryRun', 'fieldManager', 'fieldValidation', ...(verb === 'patch' ? ['force'] : [])];
    const name = verb === 'patch' ? 'meta.v1.Patch' : typeName;
    const schema = name ? this.#writer.reference(name) : { type: 'object' };
    if (this.#dialect === 'v2') {
      const consumes = verb === 'patch' ? { consumes: patchTypes } : {};
      return { ...consumes, parameters: [{ name: 'body', in: 'body', required: true, schema }, ...query(names)] };
    }
    const types = verb === 'patch' ? patchTypes : ['*/*'];
    return {
      parameters: query(names),
      requestBody: { required: true, content: Object.fromEntries(types.map((type) => [type, { schema }])) },
    };
  }
}
