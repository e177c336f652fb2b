import type { DescEnum, DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { invalid } from '../errors.ts';

/**
 * Refuses what no call can honour, wherever it stands in a request: numbers that an enumeration does not have, and what
 * has a meaning on Windows only. What a single call cannot honour is refused by that call.
 * @throws RuntimeError INVALID_ARGUMENT naming the field
 */
export function checkRequest(schema: DescMessage, request: Message): void {
  checkMessage(schema, request, '');
}

function checkMessage(schema: DescMessage, message: Message, path: string): void {
  const values = message as unknown as Record<string, unknown>;
  for (const field of schema.fields) {
    const value = values[field.localName];
    if (value === undefined) continue;
    const name = path ? `${path}.${field.name}` : field.name;
    checkField(field, value, name);
  }
}

function checkField(field: DescField, value: unknown, name: string): void {
  if (field.fieldKind === 'enum') return checkEnum(field.enum, value as number, name);
  if (field.fieldKind === 'message') {
    if (/^Windows/.test(field.message.name)) throw invalid(`${name} has no meaning on Linux`);
    return checkMessage(field.message, value as Message, name);
  }
  if (field.fieldKind !== 'list' || field.listKind !== 'message') return;
  for (const [index, one] of (value as Message[]).entries()) checkMessage(field.message, one, `${name}[${index}]`);
}

function checkEnum(schema: DescEnum, value: number, name: string): void {
  if (schema.value[value]) return;
  const known = schema.values.length > 12 ? '' : `: ${schema.values.map((one) => one.name).join(', ')} are known`;
  throw invalid(`${name} is ${value}, which is no ${schema.name}${known}`);
}
