export type { PluginHandler, RegisteredPlugin } from './plugin-handler.ts';
export { PluginWatcher, type PluginWatcherOptions } from './plugin-watcher.ts';
