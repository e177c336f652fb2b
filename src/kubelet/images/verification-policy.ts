import { withoutVersion } from './image-name.ts';

/** The values of imagePullCredentialsVerificationPolicy. */
export const verificationPolicies = [
  'NeverVerify',
  'NeverVerifyPreloadedImages',
  'NeverVerifyAllowlistedImages',
  'AlwaysVerify',
] as const;

/** Which images on the node may be used only by pods that show a login for them. */
export type VerificationPolicy = (typeof verificationPolicies)[number];

/** Whether a pod has to show a login for an image that is on the node. `pulled`: this kubelet has pulled it once. */
export type RequiresVerification = (image: string, pulled: boolean) => boolean;

/** The rule of a policy. @throws Error for a pattern of the allow list that is none */
export function verificationRule(policy: VerificationPolicy, allowlist: readonly string[] = []): RequiresVerification {
  if (policy === 'NeverVerify') return () => false;
  if (policy === 'NeverVerifyPreloadedImages') return (_, pulled) => pulled;
  if (policy === 'AlwaysVerify') return () => true;
  const patterns = allowlist.map(parsePattern);
  return (image) => {
    const name = nameOf(image);
    return !patterns.some(({ text, prefix }) => (prefix ? name.startsWith(text) : name === text));
  };
}

function nameOf(image: string): string {
  try {
    return withoutVersion(image);
  } catch {
    return image;
  }
}

/** `registry.test/path` or `registry.test/path/*`. */
function parsePattern(pattern: string): { text: string; prefix: boolean } {
  const quoted = JSON.stringify(pattern);
  if (pattern !== pattern.trim()) throw new Error(`${quoted} begins or ends with a space`);
  const prefix = pattern.endsWith('/*');
  const text = prefix ? pattern.slice(0, -1) : pattern;
  if (text === '' || text === '/') throw new Error(`${quoted} names no registry`);
  if (text.includes('*')) throw new Error(`${quoted}: a star may only stand at the end, after a slash`);
  if (!prefix && withoutVersion(text) !== text) throw new Error(`${quoted} has a tag or a digest: leave it out`);
  return { text, prefix };
}
