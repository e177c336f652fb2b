export { isFeatureOn } from './configuration/feature-gates.ts';
export { type ProxyFlag, proxyFlags } from './configuration/flags.ts';
export {
  formatConfiguration,
  loadProxyConfiguration,
  parseProxyConfiguration,
} from './configuration/load-configuration.ts';
export {
  type ClientConnection,
  type ConntrackSettings,
  type DetectLocal,
  defaultSettings,
  type LoadedConfiguration,
  type ProxySettings,
  splitBindAddress,
} from './configuration/settings.ts';
