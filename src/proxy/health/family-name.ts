import type { IpFamily } from '../model/types.ts';

/** A family as the API and metrics write it. */
export type FamilyName = 'IPv4' | 'IPv6';

/** Both. */
export const families: readonly FamilyName[] = ['IPv4', 'IPv6'];

/** The name of a family. */
export function familyName(family: IpFamily): FamilyName {
  return family === 4 ? 'IPv4' : 'IPv6';
}
