/**
 * Resource quantities ("100m", "128Mi", "1e3"), as the API writes them.
 * Values are held exactly, as a bigint count of nano units.
 */
const NANO = 1_000_000_000n;

/** Multiplier in nano units of each suffix. */
const suffixes: Record<string, bigint> = {
  n: 1n,
  u: 1_000n,
  m: 1_000_000n,
  '': NANO,
  k: NANO * 1_000n,
  M: NANO * 1_000_000n,
  G: NANO * 1_000_000_000n,
  T: NANO * 10n ** 12n,
  P: NANO * 10n ** 15n,
  E: NANO * 10n ** 18n,
  Ki: NANO << 10n,
  Mi: NANO << 20n,
  Gi: NANO << 30n,
  Ti: NANO << 40n,
  Pi: NANO << 50n,
  Ei: NANO << 60n,
};

const pattern = /^([+-]?)(\d*)(?:\.(\d*))?(?:([eE])([+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)$/;

/** The message that upstream users know for text that is no quantity. */
export const quantityFormatMessage =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/**
 * Parses a quantity into nano units; fractions of a nano unit round away from zero.
 * @throws RangeError when the text is not a quantity
 */
export function parseQuantity(text: string | number): bigint {
  const match = pattern.exec(String(text));
  if (!match || (match[2] === '' && !match[3])) throw new RangeError(quantityFormatMessage);
  const [, sign, whole = '', fraction = '', exponential, exponent, suffix] = match;
  let scale = suffixes[suffix ?? '']!;
  let divisor = 10n ** BigInt(fraction.length);
  if (exponential) {
    const power = Number(exponent);
    if (Math.abs(power) > 64) throw new RangeError(quantityFormatMessage);
    if (power >= 0) scale *= 10n ** BigInt(power);
    else divisor *= 10n ** BigInt(-power);
  }
  const product = BigInt(`${whole}${fraction}` || '0') * scale;
  const magnitude = (product + divisor - 1n) / divisor;
  return sign === '-' ? -magnitude : magnitude;
}

/** The quantity in whole units, rounded up: bytes, cores, counts. */
export function quantityValue(text: string | number): number {
  const nano = parseQuantity(text);
  return Number(nano > 0n ? (nano + NANO - 1n) / NANO : nano / NANO);
}

/** The quantity in thousandths, rounded up: CPU in millicores. */
export function quantityMilli(text: string | number): number {
  const nano = parseQuantity(text);
  return Number(nano > 0n ? (nano + 999_999n) / 1_000_000n : nano / 1_000_000n);
}

/** Less than, equal or greater: negative, zero, positive. */
export function compareQuantities(a: string | number, b: string | number): number {
  const difference = parseQuantity(a) - parseQuantity(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Writes a count of thousandths as a quantity: 1500 becomes "1500m", 2000 becomes "2". */
export function formatMilli(milli: number): string {
  return milli % 1000 === 0 ? String(milli / 1000) : `${milli}m`;
}

/** Writes a count of bytes with the largest binary suffix that is exact: 134217728 becomes "128Mi". */
export function formatBytes(bytes: number): string {
  for (const [suffix, shift] of [
    ['Ei', 60],
    ['Pi', 50],
    ['Ti', 40],
    ['Gi', 30],
    ['Mi', 20],
    ['Ki', 10],
  ] as const) {
    const unit = 2 ** shift;
    if (bytes !== 0 && bytes % unit === 0) return `${bytes / unit}${suffix}`;
  }
  return String(bytes);
}

/**
 * The canonical form of a quantity, as the API server stores it: no fraction, the largest suffix of the same family
 * (binary, decimal or exponent) that keeps it whole. "0.5" becomes "500m", "1024Mi" becomes "1Gi".
 */
export function canonicalQuantity(text: string | number): string {
  const nano = parseQuantity(text);
  if (nano === 0n) return '0';
  const source = String(text);
  const order = /i$/.test(source)
    ? (['Ei', 'Pi', 'Ti', 'Gi', 'Mi', 'Ki', ''] as const)
    : (['E', 'P', 'T', 'G', 'M', 'k', '', 'm', 'u', 'n'] as const);
  for (const suffix of order) {
    const unit = suffixes[suffix]!;
    if (nano % unit === 0n) {
      const count = nano / unit;
      return /[eE][+-]?\d/.test(source) && suffix in exponents ? `${count}${exponents[suffix]}` : `${count}${suffix}`;
    }
  }
  return canonicalQuantity(source.replace(/i$/, '') === source ? `${nano}n` : formatNano(nano));
}

const exponents: Record<string, string> = {
  E: 'e18',
  P: 'e15',
  T: 'e12',
  G: 'e9',
  M: 'e6',
  k: 'e3',
  '': '',
  m: 'e-3',
  u: 'e-6',
  n: 'e-9',
};

/** A binary quantity that is no whole number of bytes falls back to decimal suffixes. */
function formatNano(nano: bigint): string {
  for (const suffix of ['', 'm', 'u', 'n'] as const) {
    if (nano % suffixes[suffix]! === 0n) return `${nano / suffixes[suffix]!}${suffix}`;
  }
  return `${nano}n`;
}
