/**
 * What the generic API server (store, REST, watch, patches, encodings) asks of the parts that know Kubernetes:
 * who is calling (authn), may they (authz), what is a good object (rules), what does the cluster add or refuse
 * (admission), and which subresources are more than an object (connectors).
 */
import type { ApiObject } from '../../api/index.ts';
import type { IncomingMessage, Socket } from '../../wire/http/index.ts';

/** Who makes a request. */
export interface UserInfo {
  username: string;
  uid?: string;
  groups: string[];
  extra?: Record<string, string[]>;
}

/** What a request wants, as authorizers see it. */
export interface RequestAttributes {
  user: UserInfo;
  /** get, list, watch, create, update, patch, delete, deletecollection; for non-resource paths the HTTP verb in lower case. */
  verb: string;
  /** Undefined for non-resource paths. */
  resource?: { group: string; version: string; plural: string; subresource: string };
  namespace: string;
  name: string;
  path: string;
  /** Fields that a list or watch is limited to, each with the value that it must have. */
  fields?: Readonly<Record<string, string>>;
}

/** Finds out who is calling; undefined when its kind of credential is not there; throws StatusError 401 when it is there and wrong. */
export interface Authenticator {
  authenticate(request: {
    headers: Readonly<Record<string, string | string[] | undefined>>;
    /** Verified client certificate's subject, if one was given. */
    clientCertificate?: { commonName: string; organizations: string[] };
  }): Promise<UserInfo | undefined>;
}

/** Decides whether a request may go on. */
export interface Authorizer {
  authorize(attributes: RequestAttributes): Promise<{ allowed: boolean; reason: string }>;
}

/** One wrong field, as Status causes show it. */
export interface FieldError {
  /** `spec.containers[0].image` */
  field: string;
  /** FieldValueInvalid, FieldValueRequired, FieldValueDuplicate, FieldValueForbidden, FieldValueNotSupported, FieldValueNotFound, FieldValueTooLong … */
  reason: string;
  /** Upstream's text after the field: `Required value: name is required`. */
  message: string;
}

/** What the server knows of the request while it handles an object. */
export interface ObjectContext {
  user: UserInfo;
  namespace: string;
  dryRun: boolean;
  /** Milliseconds since 1970. */
  now: number;
  /** '' or the subresource through which the object is written (status, scale …). */
  subresource: string;
  registry: Registry;
  /** Registers what gives back a reservation (an address, a port) when the write fails after all, or was a dry run. */
  onFailure(undo: () => void | Promise<void>): void;
}

/** The rules of one kind. All optional; objects are changed in place. */
export interface ResourceRules {
  /** Fills what the client left out (defaults of the API). Also applied to stored objects of pod templates through PodSpec. */
  setDefaults?(object: any): void;
  /** Before a create: clears status, allocates addresses … May throw StatusError. Register undo for what it reserved. */
  prepareForCreate?(object: any, context: ObjectContext): Promise<void> | void;
  /** Before an update: keeps what may not be changed through this subresource, bumps generation where `spec` changed. */
  prepareForUpdate?(object: any, old: any, context: ObjectContext): Promise<void> | void;
  /** Says what is wrong, all at once. `old` is there on update. */
  validate?(object: any, old: any | undefined, context: ObjectContext): FieldError[];
  /** After the object is gone from the store: gives back addresses and ports. */
  afterDelete?(object: any, context: ObjectContext): Promise<void> | void;
  /** How a deletion is graceful: the grace in seconds, 0 to delete at once. Undefined: never graceful. */
  graceSeconds?(object: any, requested: number | undefined): number;
  /** Extra field selectors beside metadata.name and metadata.namespace: their values for an object. */
  selectableFields?(object: any): Record<string, string>;
  /** The cells of a Table row, in the order of the columns table; undefined uses name and age. */
  tableCells?(object: any, now: number): (string | number | boolean)[];
  /** Whether `metadata.generation` counts changes of spec. Default: true when the kind has spec and status. */
  hasGeneration?: boolean;
}

/** A change on its way in, as admission sees it. */
export interface AdmissionRequest {
  operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  resource: { group: string; version: string; plural: string; kind: string };
  subresource: string;
  namespace: string;
  name: string;
  /** Absent on DELETE. */
  object?: any;
  oldObject?: any;
  user: UserInfo;
  dryRun: boolean;
  /** The query's options (fieldManager, gracePeriodSeconds …). */
  options: Record<string, unknown>;
  registry: Registry;
}

/** Changes or refuses requests. All mutate() run before validation, all validate() after it. Throws StatusError to refuse. */
export interface AdmissionPlugin {
  readonly name: string;
  mutate?(request: AdmissionRequest): Promise<void> | void;
  validate?(request: AdmissionRequest): Promise<void> | void;
}

/** The server's own way to its objects, past authentication, authorization and admission. Names are `group/plural` ('pods', 'apps/deployments'). */
export interface Registry {
  get<T extends ApiObject = ApiObject>(resource: string, namespace: string, name: string): T | undefined;
  list<T extends ApiObject = ApiObject>(resource: string, namespace?: string): T[];
  create<T extends ApiObject = ApiObject>(resource: string, object: T): Promise<T>;
  /** Reads, changes and writes again until no one else wrote in between. `change` returns undefined to leave it. */
  update<T extends ApiObject = ApiObject>(
    resource: string,
    namespace: string,
    name: string,
    change: (object: T) => T | undefined,
  ): Promise<T | undefined>;
  delete(
    resource: string,
    namespace: string,
    name: string,
    options?: { gracePeriodSeconds?: number; uid?: string },
  ): Promise<void>;
  /** Calls back, in order, for every committed change of the resource. Returns how to stop. */
  subscribe(
    resource: string,
    callback: (change: { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: ApiObject }) => void,
  ): () => void;
}

/** An HTTP exchange with a subresource that is more than an object (log, exec, binding, eviction, token, proxy …). */
export interface ConnectRequest {
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
  /** What follows the subresource in the path (proxy). */
  subpath: string;
  method: string;
  url: URL;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  user: UserInfo;
  /** The decoded body of a create (JSON or protobuf), if it has one. */
  body?: any;
  /** The body as it came, where it is no object of the API (proxy). */
  input?: AsyncIterable<Uint8Array>;
  dryRun: boolean;
  registry: Registry;
  signal: AbortSignal;
  /** Set for an upgrade (SPDY, WebSocket): the raw socket and what was read beyond the header. */
  upgrade?: { socket: Socket; head: Buffer; raw: IncomingMessage };
}

/** What a connector answers: an object (encoded as the client asked), a stream of bytes, or nothing because it took the socket. */
export type ConnectResponse =
  | { kind: 'object'; status: number; object: ApiObject }
  | { kind: 'stream'; status: number; headers: Record<string, string>; body: AsyncIterable<Uint8Array> }
  | { kind: 'taken' };

/** Serves one subresource; keyed `pods/log`, `pods/exec`, `serviceaccounts/token` … */
export type Connector = (request: ConnectRequest) => Promise<ConnectResponse>;

/** Everything that makes the generic server a Kubernetes one. */
export interface Extensions {
  /** Asked in order; the first that knows the caller decides. None: anonymous. */
  authenticators: Authenticator[];
  authorizer: Authorizer;
  admission: AdmissionPlugin[];
  /** By `group/plural` ('pods', 'apps/deployments'). */
  rules: Record<string, ResourceRules>;
  /** By `group/plural/subresource` ('pods/log'), and `group/plural` for kinds that are only calls (tokenreviews). */
  connectors: Record<string, Connector>;
  /** Further documents that are served by path (`/openid/v1/jwks`); authorized as non-resource paths. */
  documents?: Record<string, () => Promise<{ contentType: string; body: string }>>;
  /** Objects that must exist before the first request (namespaces, RBAC, priority classes, the kubernetes Service). Called once the store is open. */
  bootstrap(registry: Registry): Promise<void>;
}
