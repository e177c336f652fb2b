export {
  type ClientConnection,
  type ConntrackSettings,
  type DetectLocal,
  defaultSettings,
  formatConfiguration,
  type LoadedConfiguration,
  loadProxyConfiguration,
  type ProxyFlag,
  type ProxySettings,
  parseProxyConfiguration,
  proxyFlags,
} from './configuration.ts';
export { ProxyError, type ProxyErrorCode } from './errors.ts';
export * from './explain/index.ts';
export { type ApiAccess, openApiAccess } from './live/api-access.ts';
export type { NodeFacts, NodeSource } from './node-facts.ts';
export { applyOomScore, prepareNode } from './node-settings.ts';
export type { LiveConfiguration, NextConfiguration, ProxyConfig } from './proxy-config.ts';
export { removeProxyRules } from './remove-rules.ts';
export { ManualSource, type ServiceSource } from './service-source.ts';
export { type Proxy, startProxy } from './start-proxy.ts';
export { proxyVersion } from './version.ts';
