/** Upper 1 % point of the chi-square distribution for 1 to 10 degrees of freedom. */
const chiSquareLimit = [6.635, 9.21, 11.345, 13.277, 15.086, 16.812, 18.475, 20.09, 21.666, 23.209];

/** Whether counts could come from an even spread: the chi-square test at 1 %. */
export function isEven(counts: readonly number[]): boolean {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const statistic = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return counts.length > 1 && statistic <= chiSquareLimit[counts.length - 2]!;
}

/** How often each line occurs. */
export function countLines(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of text.split('\n').filter(Boolean)) counts.set(line, (counts.get(line) ?? 0) + 1);
  return counts;
}
