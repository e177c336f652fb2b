export type {
  AdmissionPlugin,
  AdmissionRequest,
  Authenticator,
  Authorizer,
  Connector,
  ConnectRequest,
  ConnectResponse,
  Extensions,
  FieldError,
  ObjectContext,
  Registry,
  RequestAttributes,
  ResourceRules,
  UserInfo,
} from './extension-points.ts';
export { type ApiServer, type ApiServerConfig, startApiServer } from './start-api-server.ts';
export { StatusError } from './status-error.ts';
