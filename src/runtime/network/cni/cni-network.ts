import { statfs } from 'node:fs/promises';
import { Backoff, type Clock, faultPoint, SerialRunner } from '../../../async/index.ts';
import type { Logger } from '../../../log/index.ts';
import { messageOf, stepFailed, unlessMissing } from '../../errors.ts';
import { findProgram } from '../../settings/index.ts';
import type { PodAttachment, PodNetwork, PodNetworkRequest } from '../pod-network.ts';
import { type CniAttachment, CniAttachments } from './attachments.ts';
import { capabilityArguments, checkCapabilities, runtimeConfigOf } from './capabilities.ts';
import { type CniConfiguration, type CniPlugin, readCniDirectory } from './cni-config.ts';
import { type CniResult, convertCniResult, parseCniResult, podAddresses } from './cni-result.ts';
import { isAtLeast } from './cni-version.ts';
import { type CniCommand, CniPluginError, invokePlugin, pluginErrorCode } from './invoke-plugin.ts';
import { PluginVersions } from './plugin-versions.ts';

const podLink = 'eth0';
/** How long an answer to STATUS counts: the kubelet asks every few seconds. */
const statusMs = 10_000;

/** Where configurations and plugins are. */
export interface CniOptions {
  configurationDirectory: string;
  pluginDirectories: readonly string[];
  /** Where attachments are kept. */
  stateDirectory: string;
  /** How long all plugins together may take for one command. */
  timeoutMs: number;
  clock: Clock;
  log: Logger;
}

/** Pod networks made by CNI plugins (specification 1.1). The directory is looked at for every pod: changes count at once. */
export class CniNetwork implements PodNetwork {
  readonly #options: CniOptions;
  readonly #attachments: CniAttachments;
  readonly #versions: PluginVersions;
  readonly #serial = new SerialRunner();
  readonly #backoff: Backoff;
  /** Sandboxes that never came to be, or are forgotten: what is theirs is taken back in the background. */
  readonly #orphans = new Set<string>();
  #told = '';
  #status: { of: string; atMs: number; problem: string | undefined } | undefined;

  private constructor(options: CniOptions, attachments: CniAttachments) {
    this.#options = options;
    this.#attachments = attachments;
    this.#versions = new PluginVersions(options);
    this.#backoff = new Backoff({ initialMs: 1000, maximumMs: 60_000 }, options.clock);
  }

  static async open(options: CniOptions): Promise<CniNetwork> {
    const attachments = await CniAttachments.open(options.stateDirectory, (file, error) =>
      options.log.warn('CNI attachment cannot be read', { file, error }),
    );
    return new CniNetwork(options, attachments);
  }

  /** The configuration in force; undefined when the directory holds none. @throws Error when none is valid */
  async configuration(): Promise<CniConfiguration | undefined> {
    const { log, configurationDirectory } = this.#options;
    const { configuration, file, invalid } = await readCniDirectory(configurationDirectory);
    const telling = JSON.stringify([file, configuration, invalid]);
    if (telling !== this.#told) {
      this.#told = telling;
      if (configuration) log.info('CNI configuration', { file, network: configuration.name });
      for (const reason of invalid) log.warn('CNI configuration passed over', { reason });
    }
    if (!configuration && invalid.length > 0) throw new Error(`no valid CNI configuration: ${invalid.join('; ')}`);
    return configuration && { ...configuration, cniVersion: await this.#versions.choose(configuration) };
  }

  /** Whether plugins were called for the sandbox and have not given back everything. */
  holds(sandboxId: string): boolean {
    return this.#attachments.find(sandboxId) !== undefined;
  }

  async problem(): Promise<string | undefined> {
    try {
      const found = await this.configuration();
      if (!found) return `no CNI configuration in ${this.#options.configurationDirectory}`;
      for (const { type } of found.plugins)
        if (!findProgram(type, this.#options.pluginDirectories))
          return `CNI network "${found.name}": failed to find plugin "${type}" in path [${this.#options.pluginDirectories.join(' ')}]`;
      return isAtLeast(found.cniVersion, '1.1.0') ? await this.#askStatus(found) : undefined;
    } catch (cause) {
      return messageOf(cause);
    }
  }

  /** ADD, through the chain of plugins; each is given the result of the one before. */
  async attach(request: PodNetworkRequest): Promise<PodAttachment> {
    const configuration = await this.configuration();
    if (!configuration) throw new Error(`no CNI configuration in ${this.#options.configurationDirectory}`);
    const asked = capabilityArguments(request);
    checkCapabilities(configuration, asked);
    const entry: CniAttachment = {
      version: 1,
      sandboxId: request.sandboxId,
      interfaceName: podLink,
      namespacePath: request.namespacePath,
      arguments: argumentsOf(request),
      configuration,
      asked,
    };
    return this.#serial.run(request.sandboxId, async () => {
      await this.#attachments.put(entry);
      await faultPoint('cni-attach:noted');
      const called: CniPlugin[] = [];
      try {
        const result = await this.#add(entry, called);
        await faultPoint('cni-attach:added');
        const ips = podAddresses(result, podLink);
        if (ips.length === 0) throw new Error('the plugins gave the pod no address');
        await this.#attachments.put({ ...entry, result });
        await faultPoint('cni-attach:result');
        return { kind: 'cni', networkName: configuration.name, ips, interfaceName: podLink, result };
      } catch (cause) {
        await this.#undo({ ...entry, configuration: { ...configuration, plugins: called } });
        throw stepFailed(`CNI network "${configuration.name}"`, cause);
      }
    });
  }

  /** DEL, from the last plugin to the first, with what the pod was attached with. */
  async detach({ sandboxId }: PodNetworkRequest): Promise<void> {
    await this.#serial.run(sandboxId, async () => {
      const entry = this.#attachments.find(sandboxId);
      if (!entry || this.#orphans.has(sandboxId)) return;
      try {
        await this.#delete(entry);
      } catch (cause) {
        throw stepFailed(`CNI network "${entry.configuration.name}"`, cause);
      }
    });
  }

  /**
   * Beside the caller: takes back what sandboxes have that are none of these, tells plugins which attachments are valid
   * (GC), and has them look whether those are as they should be (CHECK).
   */
  collect(known: readonly PodNetworkRequest[]): Promise<void> {
    const ids = new Set(known.map(({ sandboxId }) => sandboxId));
    const orphans = this.#attachments.list().filter(({ sandboxId }) => !ids.has(sandboxId));
    const work = async () => {
      await Promise.all(orphans.map((entry) => this.#deleteOrphan(entry)));
      await this.#collectGarbage();
      for (const id of ids) await this.#check(id);
    };
    work().catch((error: unknown) => this.#options.log.warn('CNI networks not looked after', { error }));
    return Promise.resolve();
  }

  /** A last try for what was not taken back yet. Links and rules of plugins that belong to no pod are the plugins'. */
  async remove(): Promise<void> {
    for (const { sandboxId } of this.#attachments.list())
      await this.#serial.run(sandboxId, async () => {
        const entry = this.#attachments.find(sandboxId);
        if (!entry) return;
        await this.#delete(entry).catch((error: unknown) =>
          this.#options.log.warn('CNI network not taken back', { sandbox: sandboxId, error }),
        );
      });
  }

  /** After an ADD that failed: DEL of the plugins that were called. */
  async #undo(entry: CniAttachment): Promise<void> {
    await this.#attachments.put(entry).catch(() => {});
    await this.#delete(entry).catch((error: unknown) => this.#deleteLater(entry, error));
  }

  /** Puts the plugins that were called into the list. */
  async #add(entry: CniAttachment, called: CniPlugin[]): Promise<CniResult> {
    const { configuration } = entry;
    const deadline = this.#deadline();
    let result: CniResult = { cniVersion: configuration.cniVersion };
    let previous: object | undefined;
    for (const plugin of configuration.plugins) {
      if (findProgram(plugin.type, this.#options.pluginDirectories)) called.push(plugin);
      const text = await this.#invoke('ADD', entry, plugin, previous, deadline);
      try {
        result = parseCniResult(text);
      } catch (cause) {
        throw new CniPluginError(`plugin type="${plugin.type}" failed (add): bad result: ${messageOf(cause)}`, 0);
      }
      // A plugin that answers in another version than it was asked in is understood; the next is asked in the list's.
      const isSame = result.cniVersion === configuration.cniVersion && isAtLeast(result.cniVersion, '0.3.0');
      previous = isSame ? (JSON.parse(text) as object) : convertCniResult(result, configuration.cniVersion);
    }
    return { ...result, ...(previous as CniResult) };
  }

  async #delete(entry: CniAttachment): Promise<void> {
    const { configuration, result } = entry;
    // A namespace that is gone has no path: plugins then free only what they keep elsewhere.
    const namespacePath = (await isNamespace(entry.namespacePath)) ? entry.namespacePath : '';
    const previous = isAtLeast(configuration.cniVersion, '0.4.0') ? result : undefined;
    const deadline = this.#deadline();
    for (const plugin of configuration.plugins.toReversed())
      await this.#invoke('DEL', { ...entry, namespacePath }, plugin, previous, deadline);
    await faultPoint('cni-detach:deleted');
    await this.#attachments.delete(entry.sandboxId);
    await faultPoint('cni-detach:forgotten');
    this.#backoff.reset(entry.sandboxId);
    this.#orphans.delete(entry.sandboxId);
  }

  async #deleteOrphan({ sandboxId }: CniAttachment): Promise<void> {
    await this.#serial.run(sandboxId, async () => {
      const entry = this.#attachments.find(sandboxId);
      if (!entry) return;
      await this.#delete(entry).catch((error: unknown) => this.#deleteLater(entry, error));
    });
  }

  /** Nobody else will ask for it again. */
  #deleteLater(entry: CniAttachment, error: unknown): void {
    this.#orphans.add(entry.sandboxId);
    const delayMs = this.#backoff.next(entry.sandboxId);
    const { log, clock } = this.#options;
    log.warn('CNI network not taken back, tried again later', { sandbox: entry.sandboxId, delayMs, error });
    clock.after(delayMs, () => {
      this.#deleteOrphan(entry).catch((cause: unknown) => log.error('background work failed', { error: cause }));
    });
  }

  async #collectGarbage(): Promise<void> {
    const { log } = this.#options;
    const configuration = await this.configuration().catch(() => undefined);
    if (!configuration || configuration.disableGC || !isAtLeast(configuration.cniVersion, '1.1.0')) return;
    const valid = this.#attachments
      .list()
      .filter((entry) => entry.configuration.name === configuration.name)
      .map(({ sandboxId, interfaceName }) => ({ containerID: sandboxId, ifname: interfaceName }));
    for (const plugin of configuration.plugins) {
      const completed = { ...complete(configuration, plugin), 'cni.dev/valid-attachments': valid };
      await this.#call('GC', plugin.type, completed, this.#deadline()).catch((error: unknown) =>
        log.warn('CNI plugin did not collect', { plugin: plugin.type, error }),
      );
    }
  }

  async #check(sandboxId: string): Promise<void> {
    await this.#serial.run(sandboxId, async () => {
      const entry = this.#attachments.find(sandboxId);
      const { configuration } = entry ?? {};
      if (!entry?.result || !configuration || configuration.disableCheck) return;
      if (!isAtLeast(configuration.cniVersion, '0.4.0')) return;
      const deadline = this.#deadline();
      for (const plugin of configuration.plugins)
        await this.#invoke('CHECK', entry, plugin, entry.result, deadline).catch((error: unknown) =>
          this.#options.log.warn('the network of an adopted sandbox is not as it should be', {
            sandbox: sandboxId,
            error,
          }),
        );
    });
  }

  /** STATUS of every plugin; a plugin that does not know the command is taken to be ready. */
  async #askStatus(configuration: CniConfiguration): Promise<string | undefined> {
    const of = JSON.stringify(configuration);
    const nowMs = this.#options.clock.monotonic();
    const last = this.#status;
    if (last?.of === of && last.problem === undefined && nowMs - last.atMs < statusMs) return undefined;
    let problem: string | undefined;
    for (const plugin of configuration.plugins) {
      try {
        await this.#call('STATUS', plugin.type, complete(configuration, plugin), this.#deadline());
      } catch (cause) {
        if ((cause as CniPluginError).pluginCode === pluginErrorCode.badEnvironment) continue;
        problem = `CNI network "${configuration.name}": ${messageOf(cause)}`;
        break;
      }
    }
    this.#status = { of, atMs: nowMs, problem };
    return problem;
  }

  #invoke(
    command: CniCommand,
    entry: CniAttachment,
    plugin: CniPlugin,
    previous: object | undefined,
    deadlineMs: number,
  ): Promise<string> {
    const runtimeConfig = runtimeConfigOf(plugin, entry.asked);
    const completed = {
      ...complete(entry.configuration, plugin),
      ...(previous ? { prevResult: previous } : {}),
      ...(runtimeConfig ? { runtimeConfig } : {}),
    };
    return this.#call(command, plugin.type, completed, deadlineMs, {
      containerId: entry.sandboxId,
      namespacePath: entry.namespacePath,
      interfaceName: entry.interfaceName,
      arguments: entry.arguments,
    });
  }

  #call(
    command: CniCommand,
    type: string,
    configuration: object,
    deadlineMs: number,
    more: object = {},
  ): Promise<string> {
    const { pluginDirectories: directories, clock } = this.#options;
    const timeoutMs = Math.max(1, Math.ceil(deadlineMs - clock.monotonic()));
    return invokePlugin({ command, type, configuration, directories, clock, timeoutMs, ...more });
  }

  #deadline(): number {
    return this.#options.clock.monotonic() + this.#options.timeoutMs;
  }
}

function complete({ cniVersion, name }: CniConfiguration, { capabilities: _, ...plugin }: CniPlugin): object {
  return { ...plugin, cniVersion, name };
}

/** CNI_ARGS, as kubelets' runtimes have always given them. */
function argumentsOf({ sandboxId, name, namespace, uid }: PodNetworkRequest): string {
  return [
    'IgnoreUnknown=1',
    `K8S_POD_NAMESPACE=${namespace}`,
    `K8S_POD_NAME=${name}`,
    `K8S_POD_INFRA_CONTAINER_ID=${sandboxId}`,
    `K8S_POD_UID=${uid}`,
  ].join(';');
}

async function isNamespace(path: string): Promise<boolean> {
  const nsfsMagic = 0x6e736673;
  return path !== '' && (await unlessMissing(statfs(path)))?.type === nsfsMagic;
}
