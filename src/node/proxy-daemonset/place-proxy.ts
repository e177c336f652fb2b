import type { Clock } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { proxyConfiguration } from '../arguments.ts';
import type { UpOptions } from '../up-options.ts';

/** The image of the proxy's pods: one that the user names, or one of what is installed here, for which the runtime has to be there. */
export async function findProxyImage({ dataDirectory, proxyImage }: UpOptions, clock: Clock): Promise<string> {
  const { makeProxyImage, writeNote } = await import('./proxy-image.ts');
  if (proxyImage === undefined) return makeProxyImage(dataDirectory, clock);
  await writeNote(dataDirectory, {});
  return proxyImage;
}

/** Applies the DaemonSet of an instance; resolves when the proxy of its node serves. @throws Error saying what is missing */
export async function deployAsDaemonSet(
  options: UpOptions,
  image: string,
  { nodeIp, client, clock }: { nodeIp: string; client: ApiClient; clock: Clock },
): Promise<void> {
  const { deployProxy } = await import('./deploy.ts');
  const { nodeName, listen } = options;
  // Not the Service's address: that leads to the API server only once the proxy runs.
  const host = ['0.0.0.0', '::'].includes(listen.host) ? nodeIp : listen.host;
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${listen.port}`;
  const configuration = proxyConfiguration(options);
  await deployProxy({ client, clock, nodeName, server, image, configuration });
}
