/** The versions of the CNI specification, the oldest first. */
const versions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;

/** The newest that we speak. */
export const newestVersion: string = versions.at(-1)!;

/** Whether we speak it. */
export const isKnownVersion = (version: string): boolean => (versions as readonly string[]).includes(version);

/** Negative when the first is older. Both must be known. */
export function compareVersions(one: string, other: string): number {
  return (versions as readonly string[]).indexOf(one) - (versions as readonly string[]).indexOf(other);
}

/** Whether a version is this or a newer one. */
export const isAtLeast = (version: string, least: string): boolean => compareVersions(version, least) >= 0;
