import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../../async/index.ts';
import type { Logger } from '../../../log/index.ts';
import { ImageError } from '../image-error.ts';
import { formatImageReference, type ImageReference, parseImageReference, repositoryName } from '../image-reference.ts';
import { type Credentials, findCredentials, readCredentials } from './credentials.ts';
import { type HostRule, hostDirectories, listIfThere, readHostDirectory } from './hosts-toml.ts';
import {
  emptyRegistriesConf,
  findRule,
  type RegistriesConf,
  type RegistryLocation,
  readRegistriesConf,
  relocate,
} from './registries-conf.ts';
import {
  authFor,
  isLoopback,
  type RegistryAuth,
  type RegistryConfig,
  type RegistryEndpoint,
  serverOf,
} from './registry-config.ts';

/** Where rules for registries come from; files and directories that are missing say nothing. */
export interface RegistriesOptions {
  /** Rules of the settings: for a registry that has one, hosts.toml is not asked. */
  rules?: () => readonly RegistryConfig[];
  /** containerd's layout: `<directory>/<host[:port]>/hosts.toml`. */
  hostsDirectory?: string;
  /** containers' registries.conf. */
  registriesConf?: string;
  /** Credentials as in Docker's config.json; the first file that has some for an image counts. */
  authFiles?: readonly string[];
  log: Logger;
  clock: Clock;
}

interface Loaded {
  conf: RegistriesConf;
  credentials: Credentials[];
}

/**
 * How images are reached: names without a registry, other places and mirrors, servers with their certificates, and
 * credentials. Files are read again when they have changed; while one is wrong, what it said before counts.
 */
export class Registries {
  readonly #options: RegistriesOptions;
  #loaded: Loaded = { conf: emptyRegistriesConf(), credentials: [] };
  #seen = '';
  #problem: string | undefined;
  readonly #hosts = new Map<string, { seen: string; rules: HostRule[] | undefined }>();

  private constructor(options: RegistriesOptions) {
    this.#options = options;
  }

  /** Reads everything. @throws ConfigFileError naming file and line of what is wrong */
  static open(options: RegistriesOptions): Registries {
    const registries = new Registries(options);
    registries.#loaded = registries.#load();
    registries.#seen = registries.#fingerprint();
    const { hostsDirectory } = options;
    for (const name of hostsDirectory ? listIfThere(hostsDirectory) : []) registries.#hostRules(nameToRegistry(name));
    return registries;
  }

  /** What is wrong with a file since it was changed. */
  get problem(): string | undefined {
    this.#refresh();
    return this.#problem;
  }

  /** The images that a name may mean, in the order in which they are tried. @throws ImageError for what is no name */
  candidates(text: string): ImageReference[] {
    this.#refresh();
    const { conf } = this.#loaded;
    const usual = parseImageReference(text);
    if (!isShort(text)) return [usual];
    const [, name = text, rest = ''] = /^([^:@]+)(.*)$/.exec(text) ?? [];
    const alias = conf.aliases.get(name);
    if (alias) return [parseImageReference(`${alias}${rest}`)];
    if (conf.searchRegistries.length === 0) return [usual];
    return conf.searchRegistries.map((registry) => parseImageReference(`${registry}/${text}`));
  }

  /** @throws ImageError when a name may mean several images and that is not allowed */
  candidatesToPull(text: string): ImageReference[] {
    const candidates = this.candidates(text);
    const { searchRegistries, shortNameMode } = this.#loaded.conf;
    if (candidates.length > 1 && shortNameMode === 'enforcing')
      throw new ImageError(
        'INVALID_ARGUMENT',
        `short name ${JSON.stringify(text)} may be in ${searchRegistries.join(', ')}, and short-name-mode is enforcing: name the registry`,
      );
    return candidates;
  }

  /** The servers to ask for an image, in order. @throws ImageError for a registry that is blocked */
  async endpoints(
    reference: ImageReference,
    auth: RegistryAuth | undefined,
    signal?: AbortSignal,
  ): Promise<RegistryEndpoint[]> {
    this.#refresh();
    const name = repositoryName(reference);
    const rule = findRule(this.#loaded.conf, name);
    if (rule?.blocked)
      throw new ImageError(
        'PERMISSION_DENIED',
        `registry ${rule.prefix} is blocked in ${rule.place}: ${formatImageReference(reference)} may not be pulled`,
      );
    const given = authFor(reference.registry, auth);
    const wanted = reference.digest ? 'digest-only' : 'tag-only';
    const mirrors = (rule?.mirrors ?? []).filter(({ use }) => use === 'all' || use === wanted);
    const places: (RegistryLocation & { isMirror: boolean })[] = [
      ...mirrors.map((mirror) => ({ ...mirror, isMirror: true })),
      { ...(rule?.origin ?? { location: undefined, insecure: false, use: 'all' }), isMirror: false },
    ];
    const endpoints: RegistryEndpoint[] = [];
    for (const place of places) {
      const target = rule ? relocate(name, rule.prefix, place.location) : name;
      const own = place.isMirror ? undefined : given;
      endpoints.push(...(await this.#reach(target, name, place, rule?.place, own, signal)));
    }
    return endpoints.filter(({ mayPull, mayResolve }) => (reference.digest ? mayPull : mayResolve && mayPull));
  }

  /** Servers for a repository at its real place. */
  async #reach(
    target: string,
    name: string,
    { insecure }: RegistryLocation,
    ruledBy: string | undefined,
    given: RegistryAuth | undefined,
    signal: AbortSignal | undefined,
  ): Promise<RegistryEndpoint[]> {
    const slash = target.indexOf('/');
    const registry = target.slice(0, slash);
    const path = target.slice(slash + 1);
    const repository = registry === 'docker.io' && !path.includes('/') ? `library/${path}` : path;
    const own = given ?? (await this.#stored(target, signal)) ?? (await this.#stored(name, signal, target !== name));
    const inline = this.#inline(registry);
    const rules = inline ? inlineHosts(inline, registry) : (this.#hostRules(registry) ?? usualHosts(registry, ruledBy));
    return rules.flatMap(({ isServer, ...host }): RegistryEndpoint[] => {
      const credentials = isServer ? (given ?? inline?.auth ?? own) : undefined;
      const endpoint: RegistryEndpoint = {
        ...host,
        repository,
        // A mirror of containerd's kind stands for many registries, and is told for which.
        ...(isServer || inline ? {} : { namespace: registry }),
        ...(credentials ? { auth: credentials } : {}),
      };
      if (!insecure || !isServer) return [endpoint];
      const open = { ...endpoint, insecureSkipTlsVerify: true };
      const plain = { ...open, baseUrl: open.baseUrl.replace(/^https:/, 'http:') };
      return open.baseUrl.startsWith('https:') ? [open, plain] : [plain];
    });
  }

  async #stored(name: string, signal: AbortSignal | undefined, skip = false): Promise<RegistryAuth | undefined> {
    if (skip) return undefined;
    const { clock } = this.#options;
    for (const credentials of this.#loaded.credentials) {
      const found = await findCredentials(credentials, name, { clock, ...(signal ? { signal } : {}) });
      if (found) return found;
    }
    return undefined;
  }

  #inline(registry: string): RegistryConfig | undefined {
    const rules = this.#options.rules?.() ?? [];
    return rules.find((one) => one.registry === registry) ?? rules.find((one) => one.registry === '*');
  }

  #hostRules(registry: string): HostRule[] | undefined {
    const { hostsDirectory } = this.#options;
    if (!hostsDirectory) return undefined;
    const directory = hostDirectories(registry)
      .map((name) => join(hostsDirectory, name))
      .find((path) => listIfThere(path).length > 0);
    if (!directory) return undefined;
    const seen = [directory, ...listIfThere(directory).map((name) => join(directory, name))].map(stamp).join('|');
    const known = this.#hosts.get(registry);
    if (known?.seen === seen) return known.rules;
    try {
      const rules = readHostDirectory(directory, registry);
      this.#hosts.set(registry, { seen, rules });
      return rules;
    } catch (error) {
      if (!known) throw new ImageError('FAILED_PRECONDITION', (error as Error).message, { cause: error });
      this.#hosts.set(registry, { seen, rules: known.rules });
      this.#complain(error);
      return known.rules;
    }
  }

  #refresh(): void {
    const seen = this.#fingerprint();
    if (seen === this.#seen) return;
    this.#seen = seen;
    try {
      this.#loaded = this.#load();
      this.#problem = undefined;
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    this.#problem = (error as Error).message;
    this.#options.log.warn('configuration of registries is wrong: what it said before still counts', { error });
  }

  #load(): Loaded {
    const { registriesConf, authFiles = [] } = this.#options;
    const conf = registriesConf ? readRegistriesConf(registriesConf) : emptyRegistriesConf();
    const credentials = authFiles.map(readCredentials).filter((one) => one !== undefined);
    // `containers-auth.json` is the files themselves; anything else is a program.
    for (const helper of conf.credentialHelpers.filter((one) => one !== 'containers-auth.json'))
      credentials.push({ file: registriesConf!, entries: new Map(), helpers: new Map([['*', helper]]) });
    return { conf, credentials };
  }

  /** Changes when any of the files does. */
  #fingerprint(): string {
    const { registriesConf, authFiles = [] } = this.#options;
    const more = registriesConf
      ? [registriesConf, ...listIfThere(`${registriesConf}.d`).map((name) => join(`${registriesConf}.d`, name))]
      : [];
    return [...more, ...authFiles].map(stamp).join('|');
  }
}

function stamp(path: string): string {
  const info = statSync(path, { throwIfNoEntry: false });
  return info ? `${path}:${info.ino}:${info.size}:${info.mtimeMs}` : path;
}

function nameToRegistry(name: string): string {
  return name.replace(/_(\d+)_$/, ':$1');
}

function isShort(text: string): boolean {
  const [first = '', ...rest] = text.split('/');
  return rest.length === 0 || !(/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
}

function usualHosts(registry: string, ruledBy: string | undefined): HostRule[] {
  const scheme = isLoopback(registry) ? 'http' : 'https';
  const rule = ruledBy ?? 'default';
  return [{ baseUrl: `${scheme}://${serverOf(registry)}`, mayResolve: true, mayPull: true, isServer: true, rule }];
}

/** The servers of a rule of the settings. */
function inlineHosts(config: RegistryConfig, registry: string): HostRule[] {
  const { ca, cert, key, insecureSkipTlsVerify, headers } = config;
  const common = {
    mayResolve: true,
    mayPull: true,
    rule: 'settings',
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(insecureSkipTlsVerify ? { insecureSkipTlsVerify } : {}),
    ...(headers ? { headers } : {}),
  };
  const tls = Boolean(ca || cert || insecureSkipTlsVerify);
  const plain = config.plainHttp ?? (isLoopback(registry) && !tls);
  return [
    ...(config.mirrors ?? []).map((mirror) => ({ ...common, baseUrl: mirror.replace(/\/$/, ''), isServer: false })),
    { ...common, baseUrl: `${plain ? 'http' : 'https'}://${serverOf(registry)}`, isServer: true },
  ];
}
