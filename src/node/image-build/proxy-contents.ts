import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findClosure, renameImports } from './code-closure.ts';
import { addLibraries, addProgram, type FileSet, findProgram, imagePath, libraryDirectories } from './host-programs.ts';
import { ImageBuildError } from './image-build-error.ts';
import { addPackages, findPackage } from './npm-packages.ts';
import type { TarEntry } from './tar.ts';

/** One layer: what it is for, and what is in it. */
export interface LayerContents {
  name: string;
  files: FileSet;
}

/** Everything that goes into an image, the layers that change least first. */
export interface ImageContents {
  layers: LayerContents[];
  entrypoint: string[];
  environment: string[];
  /** What was left out because this machine has not got it. */
  notes: string[];
}

/** Where our code is in the image. */
const home = 'opt/deckhand';

/** Node in the image; scripts name it in their first line. */
const interpreter = 'usr/local/bin/node';

/** Where the code of an image of the proxy begins: upstream's name of it, and the command line with its commands that belong to it. */
const roots = ['src/cli/kube-proxy.ts', 'src/cli/main.ts', 'src/cli/component.ts', 'src/cli/version.ts'];

/** Files that load one of many commands or components: they are not followed, but what they would load for the proxy is named. */
export const dispatchers: readonly string[] = ['src/cli/main.ts', 'src/node/index.ts', 'src/node/load-component.ts'];

/** The same programs are called by many names. */
const iptablesNames = (variant: 'nft' | 'legacy'): string[] =>
  ['iptables', 'ip6tables'].flatMap((base) => ['', '-save', '-restore'].map((end) => `${base}-${variant}${end}`));

/**
 * What the proxy needs of this machine: the pinned Node, the iptables programs of both variants with their extensions,
 * the libraries of all of them, and of this package the code that the proxy loads. No shell, no package manager.
 * @param packageDirectory where this package is installed
 */
export async function collectProxyContents(packageDirectory: string): Promise<ImageContents> {
  const notes: string[] = [];
  const node = findPackage('node', packageDirectory);
  const nodeBinary = node && join(node, 'bin/node');
  if (!nodeBinary || !existsSync(nodeBinary))
    throw new ImageBuildError(
      'PACKAGE_MISSING',
      'node',
      `the pinned Node is not installed: run 'npm install' in ${packageDirectory}`,
    );
  const system = systemFiles();
  const programs = await addIptables(system, notes);
  // Older C libraries load these by name when a host name is looked up.
  await addLibraries(system, [nodeBinary, ...programs], ['libnss_files.so.2', 'libnss_dns.so.2', 'libresolv.so.2']);
  const runtime: FileSet = new Map();
  await addProgram(runtime, interpreter, realpathSync(nodeBinary));
  const closure = await findClosure(
    packageDirectory,
    [...roots, ...ownCommands(packageDirectory)],
    (file) => !dispatchers.includes(file),
  );
  const packages: FileSet = new Map();
  addPackages(packages, packageDirectory, home, closure.packages);
  return {
    layers: [
      { name: 'iptables and libraries', files: system },
      { name: 'Node', files: runtime },
      { name: 'npm packages', files: packages },
      { name: 'code', files: codeFiles(closure.files) },
    ],
    entrypoint: ['/usr/local/bin/kube-proxy'],
    environment: [
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      // As the launcher starts it: a small young generation keeps the heap small.
      'NODE_OPTIONS=--max-semi-space-size=2 --disable-warning=ExperimentalWarning',
    ],
    notes,
  };
}

/** The proxy's component and the files of its further commands. */
function ownCommands(packageDirectory: string): string[] {
  return ['src/cli', 'src/node', 'src/node/components'].flatMap((folder) =>
    readdirSync(join(packageDirectory, folder))
      .filter((name) => /^proxy(?:-[a-z-]+)?\.ts$/.test(name))
      .map((name) => `${folder}/${name}`),
  );
}

/** Where programs expect what is not theirs. */
function systemFiles(): FileSet {
  const files: FileSet = new Map();
  const add = (entry: TarEntry) => files.set(entry.path, entry);
  const text = (path: string, content: string) =>
    add({ path, mode: 0o644, kind: 'bytes', content: Buffer.from(content) });
  for (const name of ['bin', 'sbin', 'lib', 'lib64'])
    add({ path: name, mode: 0o777, kind: 'link', target: `usr/${name}` });
  for (const path of [
    'usr/bin',
    'usr/sbin',
    'usr/lib',
    'usr/lib64',
    'run',
    'proc',
    'sys',
    'dev',
    'root',
    'var/lib/kube-proxy',
  ])
    add({ path, mode: path === 'root' ? 0o700 : 0o755, kind: 'directory' });
  add({ path: 'tmp', mode: 0o1777, kind: 'directory' });
  add({ path: 'var/run', mode: 0o777, kind: 'link', target: '../run' });
  text('etc/passwd', 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n');
  text('etc/group', 'root:x:0:\nnogroup:x:65534:\n');
  text('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n');
  // iptables prints and reads protocols by these names.
  text('etc/protocols', 'ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n');
  return files;
}

/** Adds iptables; gives the real files, whose libraries are needed too. @throws ImageBuildError PROGRAM_MISSING */
async function addIptables(files: FileSet, notes: string[]): Promise<string[]> {
  const sources: string[] = [];
  for (const variant of ['nft', 'legacy'] as const) {
    const source = findProgram([`iptables-${variant}`, `xtables-${variant}-multi`]);
    if (!source) {
      notes.push(`iptables-${variant} is not on this machine: the image has not got it`);
      continue;
    }
    const target = `usr/sbin/${basename(source)}`;
    await addProgram(files, target, source);
    for (const name of iptablesNames(variant))
      files.set(`usr/sbin/${name}`, { path: `usr/sbin/${name}`, mode: 0o777, kind: 'link', target: basename(source) });
    sources.push(source);
  }
  if (sources.length === 0)
    throw new ImageBuildError(
      'PROGRAM_MISSING',
      'iptables',
      "not on this machine, and the proxy's iptables mode needs it: install the package iptables ('deckhand setup' does)",
    );
  sources.push(...(await addExtensions(files)));
  return sources;
}

/** Adds what iptables loads for each kind of match and target: rules of others are to be read too. */
async function addExtensions(files: FileSet): Promise<string[]> {
  const folder = [...libraryDirectories(), '/usr/lib64', '/usr/lib']
    .map((directory) => join(directory, 'xtables'))
    .find((path) => existsSync(path) && readdirSync(path).some((name) => /^libxt_.*\.so$/.test(name)));
  if (!folder)
    throw new ImageBuildError(
      'PROGRAM_MISSING',
      'xtables',
      'the extensions of iptables (libxt_*.so) are nowhere on this machine: install the package iptables anew',
    );
  const sources: string[] = [];
  // iptables looks in the directory it was made for, which is the real one.
  const target = imagePath(realpathSync(folder));
  for (const name of readdirSync(folder)
    .filter((one) => /^lib(?:xt|ipt|ip6t)_.*\.so$/.test(one))
    .sort()) {
    const source = realpathSync(join(folder, name));
    const path = `${target}/${name}`;
    if (basename(source) !== name) files.set(path, { path, mode: 0o777, kind: 'link', target: basename(source) });
    else {
      await addProgram(files, path, source, 0o644);
      sources.push(source);
    }
  }
  return sources;
}

/** The code as it runs: without types, so that a start neither loads nor runs the compiler. */
function codeFiles(sources: ReadonlyMap<string, string>): FileSet {
  const files: FileSet = new Map();
  for (const [source, code] of sources) {
    const path = `${home}/${source.replace(/\.ts$/, '.js')}`;
    const entry = /^src\/cli\/(?:main|kube-proxy)\.ts$/.test(source);
    const content = Buffer.from(
      `${entry ? `#!/${interpreter}\n` : ''}${source.endsWith('.ts') ? renameImports(code) : code}`,
    );
    files.set(path, { path, mode: entry ? 0o755 : 0o644, kind: 'bytes', content });
  }
  for (const [name, target] of [
    ['kube-proxy', 'kube-proxy'],
    ['deckhand', 'main'],
  ] as const) {
    const path = `usr/local/bin/${name}`;
    files.set(path, { path, mode: 0o777, kind: 'link', target: `../../../${home}/src/cli/${target}.js` });
  }
  const path = `${home}/package.json`;
  if (!files.has(path)) throw new Error('the closure of the code has no package.json, by which Node knows modules');
  return files;
}
