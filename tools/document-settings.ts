/**
 * Writes the table of the runtime's settings into docs/runtime.md, from src/runtime/settings/table.ts.
 *
 * Usage: node tools/document-settings.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileName, printValue, type Setting, settingTable } from '../src/runtime/settings/index.ts';

const file = join(import.meta.dirname, '../docs/runtime.md');
const [begin, end] = ['<!-- settings: written by tools/document-settings.ts -->', '<!-- end of settings -->'];

/** The table of all settings. */
export function renderSettings(): string {
  const rows = Object.entries(settingTable as Record<string, Setting<unknown, boolean>>).map(([name, setting]) => {
    const { schema, help, flag, live } = setting;
    const also = [...(flag ? [`option \`--${flag.name}\``] : []), ...(live ? ['live'] : [])].join(', ');
    return `| \`${fileName(name, schema)}\` | ${inTable(schema.kind)} | ${defaultOf(setting)} | ${inTable(help)}${also ? ` (${also})` : ''} |`;
  });
  return ['| key | must be | default | what |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

function defaultOf({ default: value, defaultText, schema }: Setting<unknown, boolean>): string {
  if (value === undefined) return defaultText ?? 'none';
  return `\`${JSON.stringify(printValue(schema, value))}\``;
}

/** Text in a cell. */
const inTable = (text: string): string => text.replaceAll('|', '\\|');

/** The documentation as it should be. */
export function updateDocumentation(text: string): string {
  const [before = '', rest = ''] = text.split(begin);
  const after = rest.split(end)[1];
  if (after === undefined) throw new Error(`docs/runtime.md lacks the line ${begin} or ${end}`);
  return `${before}${begin}\n${renderSettings()}\n${end}${after}`;
}

/** The documentation as it is. */
export const currentDocumentation = (): string => readFileSync(file, 'utf8');

if (import.meta.main) writeFileSync(file, updateDocumentation(currentDocumentation()));
