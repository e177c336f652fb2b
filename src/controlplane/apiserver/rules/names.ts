/**
 * The forms that names, labels and the like must have, with the texts that upstream's users know.
 * Every check gives the texts of what is wrong; none when it is right.
 */
const label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const subdomain = `${label}(\\.${label})*`;
const startsWithLetter = '[a-z]([-a-z0-9]*[a-z0-9])?';
const qualified = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const labelValue = `(${qualified})?`;
const configKey = '[-._a-zA-Z0-9]+';
const httpHeader = '[-A-Za-z0-9]+';

const patterns = {
  label: new RegExp(`^${label}$`),
  subdomain: new RegExp(`^${subdomain}$`),
  startsWithLetter: new RegExp(`^${startsWithLetter}$`),
  qualified: new RegExp(`^${qualified}$`),
  labelValue: new RegExp(`^${labelValue}$`),
  configKey: new RegExp(`^${configKey}$`),
  httpHeader: new RegExp(`^${httpHeader}$`),
  environmentName: /^[ -<>-~]+$/,
};

const withExamples = (text: string, pattern: string, ...examples: string[]): string => {
  const list = examples.map((one) => `'${one}'`).join(',  or ');
  return `${text} (e.g. ${list}, regex used for validation is '${pattern}')`;
};

const texts = {
  label: withExamples(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    label,
    'my-name',
    '123-abc',
  ),
  subdomain: withExamples(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    subdomain,
    'example.com',
  ),
  startsWithLetter: withExamples(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
    startsWithLetter,
    'my-name',
    'abc-123',
  ),
  qualified: withExamples(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    qualified,
    'MyName',
    'my.name',
    '123-abc',
  ),
  labelValue: withExamples(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    labelValue,
    'MyValue',
    'my_value',
    '12345',
  ),
  configKey: withExamples(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    configKey,
    'key.name',
    'KEY_NAME',
    'key-name',
  ),
  httpHeader: withExamples(
    "a valid HTTP header must consist of alphanumeric characters or '-'",
    httpHeader,
    'X-Header-Name',
  ),
};

const tooLongText = (limit: number) => `must be no more than ${limit} bytes`;

function check(value: string, pattern: RegExp, limit: number, text: string): string[] {
  const found: string[] = [];
  if (Buffer.byteLength(value) > limit) found.push(tooLongText(limit));
  if (!pattern.test(value)) found.push(text);
  return found;
}

/** A DNS label (RFC 1123): namespaces, container and volume names. */
export const checkLabelName = (value: string): string[] => check(value, patterns.label, 63, texts.label);

/** A DNS subdomain (RFC 1123): the names of most objects. */
export const checkSubdomain = (value: string): string[] => check(value, patterns.subdomain, 253, texts.subdomain);

/** A DNS label that starts with a letter (RFC 1035): Services. */
export const checkServiceName = (value: string): string[] =>
  check(value, patterns.startsWithLetter, 63, texts.startsWithLetter);

/** A name that is a part of a path: RBAC objects. */
export function checkPathSegment(value: string): string[] {
  if (value === '.' || value === '..') return [`may not be '${value}'`];
  return ['/', '%'].filter((one) => value.includes(one)).map((one) => `may not contain '${one}'`);
}

/** A label key, annotation key, resource name: `name` or `prefix/name`. */
export function checkQualifiedName(value: string): string[] {
  const parts = value.split('/');
  if (parts.length > 2) {
    return [
      `a qualified name ${texts.qualified} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  const found: string[] = [];
  if (parts.length === 2) {
    if (parts[0] === '') found.push('prefix part must be non-empty');
    else found.push(...checkSubdomain(parts[0]!).map((text) => `prefix part ${text}`));
  }
  const name = parts.at(-1)!;
  if (name === '') found.push('name part must be non-empty');
  else if (Buffer.byteLength(name) > 63) found.push(`name part ${tooLongText(63)}`);
  if (!patterns.qualified.test(name)) found.push(`name part ${texts.qualified}`);
  return found;
}

/** The value of a label. */
export const checkLabelValue = (value: string): string[] => check(value, patterns.labelValue, 63, texts.labelValue);

/** A key of a ConfigMap or Secret. */
export function checkConfigKey(value: string): string[] {
  const found = check(value, patterns.configKey, 253, texts.configKey);
  if (value === '.' || value === '..') found.push(`must not be '${value}'`);
  else if (value.startsWith('..')) found.push("must not start with '..'");
  return found;
}

/** The name of an environment variable: any printable ASCII but '='. */
export function checkEnvironmentName(value: string): string[] {
  if (patterns.environmentName.test(value)) return [];
  return ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

/** The name of a header of an HTTP probe. */
export const checkHeaderName = (value: string): string[] => (patterns.httpHeader.test(value) ? [] : [texts.httpHeader]);

/** The name of a port (IANA service name). */
export function checkPortName(value: string): string[] {
  const found: string[] = [];
  if (value.length > 15) found.push('must be no more than 15 characters');
  if (!/^[-a-z0-9]+$/.test(value)) found.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(value)) found.push('must contain at least one letter (a-z)');
  if (value.includes('--')) found.push('must not contain consecutive hyphens');
  if (value.startsWith('-') || value.endsWith('-')) found.push('must not begin or end with a hyphen');
  return found;
}

/** A port number. */
export const checkPortNumber = (value: number): string[] =>
  Number.isInteger(value) && value >= 1 && value <= 65535 ? [] : ['must be between 1 and 65535, inclusive'];

/** An IP address of either family. */
export function checkIpAddress(value: string): string[] {
  return isIpv4(value) || isIpv6(value) ? [] : ['must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'];
}

/** Whether the text is an IPv4 address in its usual form. */
export function isIpv4(value: string): boolean {
  const parts = value.split('.');
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

/** Whether the text is an IPv6 address. */
export function isIpv6(value: string): boolean {
  return value.includes(':') && /^[0-9a-fA-F:.]+$/.test(value) && URL.canParse(`http://[${value}]`);
}
