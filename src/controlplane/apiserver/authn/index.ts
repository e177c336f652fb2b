export { type AuthenticationOptions, anonymous, createAuthenticator, findTokenUser } from './authenticator.ts';
export { checkToken } from './service-account-tokens.ts';
export { type TokenClaims, TokenSigner } from './token-signer.ts';
