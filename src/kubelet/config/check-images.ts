import { type VerificationPolicy, verificationPolicies, verificationRule } from '../images/verification-policy.ts';
import { durationMs } from './duration.ts';

/** The fields about images, as far as they have rules. */
interface ImageFields {
  imagePullCredentialsVerificationPolicy: VerificationPolicy;
  preloadedImagesVerificationAllowlist?: string[];
  registryPullQPS: number;
  registryBurst: number;
  imageMinimumGCAge: string;
  imageMaximumGCAge: string;
}

/** Checks the fields about images against each other. `fail` throws, naming the field. */
export function checkImageFields(configuration: ImageFields, fail: (field: string, message: string) => never): void {
  const { imagePullCredentialsVerificationPolicy: policy, preloadedImagesVerificationAllowlist: allowlist } =
    configuration;
  const field = 'imagePullCredentialsVerificationPolicy';
  if (!verificationPolicies.includes(policy)) fail(field, `must be ${verificationPolicies.join(', ')}, not ${policy}`);
  if (allowlist?.length && policy !== 'NeverVerifyAllowlistedImages') {
    fail('preloadedImagesVerificationAllowlist', `can only be used with ${field} NeverVerifyAllowlistedImages`);
  }
  try {
    verificationRule(policy, allowlist);
  } catch (error) {
    fail('preloadedImagesVerificationAllowlist', (error as Error).message);
  }
  const { registryPullQPS, registryBurst } = configuration;
  if (registryPullQPS < 0) fail('registryPullQPS', `${registryPullQPS} is negative`);
  if (registryBurst < 0) fail('registryBurst', `${registryBurst} is negative`);
  const minimum = durationMs(configuration.imageMinimumGCAge);
  const maximum = durationMs(configuration.imageMaximumGCAge);
  if (maximum < 0) fail('imageMaximumGCAge', `${configuration.imageMaximumGCAge} is negative`);
  if (maximum > 0 && maximum <= minimum)
    fail('imageMaximumGCAge', `must be greater than imageMinimumGCAge ${configuration.imageMinimumGCAge}`);
}
