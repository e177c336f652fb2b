/**
 * Replaces `$(NAME)` by the variable's value. `$$` stands for `$`; a name that is not known, and anything that is not
 * closed, stays as written.
 */
export function expandVariables(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$';
    return lookup(name) ?? whole;
  });
}
