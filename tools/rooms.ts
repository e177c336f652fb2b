/**
 * Architecture as a test: who may import whom, doors, rings, sizes, clocks. Run by `npm run check`.
 * Exceptions stand in room-exceptions.ts, each with its reason.
 *
 * Usage: node tools/rooms.ts [--graph]
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { exceptions } from './room-exceptions.ts';

/** Which rooms a room may import. The order is from the ground up. */
const mayImport: Record<string, readonly string[]> = {
  api: [],
  log: [],
  async: [],
  wire: ['async', 'log'],
  host: ['async', 'log'],
  client: ['api', 'async', 'log', 'wire'],
  runtime: ['api', 'async', 'log', 'wire', 'host'],
  kubelet: ['api', 'async', 'log', 'wire', 'host', 'client'],
  proxy: ['api', 'async', 'log', 'wire', 'host', 'client'],
  controlplane: ['api', 'async', 'log', 'wire', 'client'],
  node: ['api', 'async', 'log', 'wire', 'host', 'client', 'runtime', 'kubelet', 'proxy', 'controlplane'],
  ui: ['api'],
  cli: ['node', 'client', 'api', 'log', 'async'],
};

/** Rooms that are a row of small rooms, each with a door of its own. */
const rows = new Set(['api', 'wire', 'host', 'controlplane']);

/** Node modules that only some rooms may use. */
const reserved: Record<string, readonly string[]> = {
  'node:http': ['wire'],
  'node:https': ['wire'],
  'node:http2': ['wire'],
  // Sockets whose descriptors come from system calls are made in host.
  'node:net': ['wire', 'host'],
  'node:tls': ['wire'],
  'node:dgram': ['wire'],
  'node:child_process': ['host'],
  'node:worker_threads': ['node', 'host'],
  'node:sqlite': ['controlplane'],
  koffi: ['host'],
};

/** Ways to read the clock or to wait, which only src/async may use. */
const clockPattern =
  /\bDate\.now\(|\bnew Date\(\)|(?<![.\w])setTimeout\(|(?<![.\w])setInterval\(|\bperformance\.now\(|\bprocess\.hrtime\b/;

const limits = { functionLines: 60, fileLines: 400 };
const root = join(import.meta.dirname, '..');
const source = join(root, 'src');

interface SourceFile {
  /** Path from src/. */
  path: string;
  room: string;
  lines: string[];
  /** Relative imports as paths from src/, and the rest as they are. */
  imports: { target: string; local: boolean; line: number }[];
}

function readSources(): SourceFile[] {
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts') && !path.includes('/generated/'))
    .sort()
    .map((path) => {
      const lines = readFileSync(join(source, path), 'utf8').split('\n');
      return { path, room: path.split('/')[0]!, lines, imports: readImports(path, lines) };
    });
}

function readImports(path: string, lines: string[]): SourceFile['imports'] {
  const imports: SourceFile['imports'] = [];
  lines.forEach((line, index) => {
    const match =
      /^\s*(?:import|export)\b.*\bfrom '([^']+)'/.exec(line) ??
      /^\} from '([^']+)'/.exec(line) ??
      /^import '([^']+)'/.exec(line) ??
      /\bimport\('([^']+)'\)/.exec(line);
    if (!match) return;
    const local = match[1]!.startsWith('.');
    const target = local ? relative(source, resolve(source, dirname(path), match[1]!)) : match[1]!;
    imports.push({ target, local, line: index + 1 });
  });
  return imports;
}

interface Finding {
  rule: string;
  place: string;
  text: string;
}

const isTest = (path: string): boolean => /\.(test|suite)\.ts$/.test(path) || path.includes('/testing/');

function checkImports(file: SourceFile): Finding[] {
  const findings: Finding[] = [];
  const add = (rule: string, line: number, text: string) =>
    findings.push({ rule, place: `src/${file.path}:${line}`, text });
  for (const { target, local, line } of file.imports) {
    if (!local) {
      const allowed = reserved[target];
      if (allowed && !allowed.includes(file.room)) add('reserved', line, `${target} is for ${allowed.join(', ')}`);
      continue;
    }
    if (target.startsWith('..')) {
      if (!target.endsWith('package.json')) add('outside', line, `imports ${target}, outside src/`);
      continue;
    }
    const room = target.split('/')[0]!;
    if (isTest(target)) add('test-import', line, `source imports the test ${target}`);
    if (room === file.room) continue;
    if (!mayImport[file.room]?.includes(room)) add('rooms', line, `${file.room} may not import ${room}`);
    const parts = target.split('/');
    const door = parts.at(-1) === 'index.ts' && (parts.length === 2 || (rows.has(room) && parts.length === 3));
    if (!door) add('door', line, `imports ${target} past the door of ${room}`);
  }
  return findings;
}

function checkSizes(file: SourceFile): Finding[] {
  const findings: Finding[] = [];
  if (file.lines.length - 1 > limits.fileLines) {
    findings.push({
      rule: 'file-size',
      place: `src/${file.path}`,
      text: `${file.lines.length - 1} lines, at most ${limits.fileLines}`,
    });
  }
  const start =
    /^(\s*)(?:(?:export |default |async |static |override |get |set )*(?:function\b|[#*\w[\].]+(?:<.*>)?\(.*\).*\{$)|(?:export )?const \w+.*=>.*\{$)/;
  file.lines.forEach((line, index) => {
    const match = start.exec(line);
    if (!match || /^\s*(?:if|for|while|switch|catch|return|await|else|do|try|new|throw|test|describe|it)\b/.test(line))
      return;
    const indent = match[1]!;
    let end = index + 1;
    while (end < file.lines.length && !file.lines[end]!.startsWith(`${indent}}`)) end++;
    const length = end - index + 1;
    if (length > limits.functionLines && end < file.lines.length) {
      findings.push({
        rule: 'function-size',
        place: `src/${file.path}:${index + 1}`,
        text: `${length} lines, at most ${limits.functionLines}`,
      });
    }
  });
  return findings;
}

function checkClock(file: SourceFile): Finding[] {
  if (file.room === 'async') return [];
  return file.lines.flatMap((line, index) =>
    clockPattern.test(line) && !/^\s*(?:\*|\/\/)/.test(line)
      ? [
          {
            rule: 'clock',
            place: `src/${file.path}:${index + 1}`,
            text: 'reads the clock or sets a timer: take a Clock',
          },
        ]
      : [],
  );
}

/** Rings of imports: strongly connected groups of more than one file (Tarjan). */
function findRings(files: SourceFile[]): string[][] {
  const edges = new Map(files.map((file) => [file.path, file.imports.filter((i) => i.local).map((i) => i.target)]));
  const order = new Map<string, { index: number; low: number; onStack: boolean }>();
  const stack: string[] = [];
  const rings: string[][] = [];
  const visit = (path: string): void => {
    const state = { index: order.size, low: order.size, onStack: true };
    order.set(path, state);
    stack.push(path);
    for (const next of edges.get(path) ?? []) {
      if (!edges.has(next)) continue;
      const seen = order.get(next);
      if (!seen) {
        visit(next);
        state.low = Math.min(state.low, order.get(next)!.low);
      } else if (seen.onStack) state.low = Math.min(state.low, seen.index);
    }
    if (state.low !== state.index) return;
    const group = stack.splice(stack.indexOf(path));
    for (const member of group) order.get(member)!.onStack = false;
    if (group.length > 1) rings.push(group.reverse());
  };
  for (const path of edges.keys()) if (!order.has(path)) visit(path);
  return rings;
}

function printGraph(files: SourceFile[]): void {
  const counts = new Map<string, number>();
  for (const file of files) {
    for (const { target, local } of file.imports) {
      const room = target.split('/')[0]!;
      if (local && room !== file.room)
        counts.set(`${file.room} -> ${room}`, (counts.get(`${file.room} -> ${room}`) ?? 0) + 1);
    }
  }
  for (const [edge, count] of [...counts].sort()) console.log(`${edge} (${count})`);
}

const files = readSources();
const code = files.filter((file) => !isTest(file.path));
if (process.argv.includes('--graph')) {
  printGraph(code);
  process.exit(0);
}
const findings = [
  ...code.flatMap((file) => [...checkImports(file), ...checkSizes(file), ...checkClock(file)]),
  ...findRings(code).map((ring) => ({
    rule: 'ring',
    place: `src/${ring[0]}`,
    text: `imports in a ring: ${ring.join(' → ')}`,
  })),
];
const unused = new Set(exceptions);
const open = findings.filter((finding) => {
  const exception = exceptions.find((one) => one.rule === finding.rule && finding.place.startsWith(`src/${one.path}`));
  if (exception) unused.delete(exception);
  return !exception;
});
for (const { rule, place, text } of open) console.error(`${place}: ${text} [${rule}]`);
for (const { rule, path } of unused)
  console.error(`tools/room-exceptions.ts: the exception ${rule} for ${path} is no longer needed`);
console.log(
  `rooms: ${code.length} files, ${code.reduce((sum, file) => sum + file.lines.length, 0)} lines, ${open.length + unused.size} findings`,
);
process.exit(open.length + unused.size === 0 ? 0 : 1);
