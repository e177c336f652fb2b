/**
 * Whether a pattern of the setting `pinnedImages` fits an image's name: the whole name, its beginning (`registry/team/*`)
 * or any part of it (`*pause*`), as CRI-O reads them.
 */
export function fitsPattern(pattern: string, name: string): boolean {
  const wild = pattern.endsWith('*') && pattern.length > 1;
  if (pattern.startsWith('*') && wild) return name.includes(pattern.slice(1, -1));
  return wild ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
