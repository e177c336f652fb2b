/** A plugin as it introduces itself. */
export interface RegisteredPlugin {
  /** Name of the CSI driver, or the resource of the devices. */
  name: string;
  /** The socket that serves the plugin's own calls. */
  endpoint: string;
  /** Versions of those calls that the plugin serves. */
  versions: readonly string[];
}

/**
 * What takes plugins of one type. A handler joins by being listed in the `handlers` of {@link PluginWatcher} (made in
 * assemble.ts) below the type as plugins say it: `CSIPlugin`, `DevicePlugin`.
 *
 * Calls for one socket come one after another; those for different sockets may run side by side. A plugin whose socket has
 * been made anew is deregistered and registered again, and after a restart of the kubelet every plugin is registered once
 * more: nothing needs to be remembered on disk, and registering twice must do no harm.
 */
export interface PluginHandler {
  /** Looks whether the plugin can be taken. @throws Error whose message the plugin is told as the reason */
  validate(plugin: RegisteredPlugin): Promise<void> | void;
  /** Takes the plugin. It is told that it is registered when this resolves. @throws Error as validate does; tried again later */
  register(plugin: RegisteredPlugin, signal: AbortSignal): Promise<void>;
  /** The plugin's socket has gone (or could not be told of its success). */
  deregister(plugin: RegisteredPlugin): Promise<void> | void;
}
