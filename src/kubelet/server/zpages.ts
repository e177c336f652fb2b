import type { KubeletSettings } from '../config/settings.ts';
import { type Asked, sendJson, sendText } from './answers.ts';

const warning =
  'Warning: This endpoint is for people who look for a fault; its format is not meant to be read by programs.';

/** `/statusz`: since when what runs, and which paths it has. */
export function serveStatus(asked: Asked, paths: readonly string[], version: string, now: number): void {
  const startedAt = performance.timeOrigin;
  const facts = {
    startTime: new Date(startedAt).toISOString(),
    uptimeSeconds: Math.round((now - startedAt) / 1000),
    goVersion: `node ${process.version}`,
    binaryVersion: version.replace(/^v/, ''),
    paths: [...paths].sort(),
  };
  if (asksFor(asked, 'Statusz'))
    return sendJson(asked, {
      kind: 'Statusz',
      apiVersion: 'config.k8s.io/v1alpha1',
      metadata: { name: 'kubelet' },
      ...facts,
    });
  const { startTime, uptimeSeconds, goVersion, binaryVersion } = facts;
  const lines = [
    `Started: ${startTime}`,
    `Up: ${Math.floor(uptimeSeconds / 3600)} hr ${String(Math.floor(uptimeSeconds / 60) % 60).padStart(2, '0')} min ${String(uptimeSeconds % 60).padStart(2, '0')} sec`,
    `Runs on: ${goVersion}`,
    `Binary version: ${binaryVersion}`,
    '',
    `Paths: ${facts.paths.join(' ')}`,
  ];
  sendText(asked, `\nkubelet statusz\n${warning}\n\n${lines.join('\n')}\n`);
}

/** `/flagz`: the flags as they are in effect. */
export function serveFlags(asked: Asked, settings: KubeletSettings): void {
  const flags: Record<string, string> = {
    'container-runtime-endpoint': settings.runtimeEndpoint,
    'hostname-override': settings.nodeName,
    'image-service-endpoint': settings.imageEndpoint,
    'node-ip': settings.nodeIps.join(','),
    'node-labels': Object.entries(settings.nodeLabels)
      .map((pair) => pair.join('='))
      .join(','),
    'pod-manifest-path': settings.configuration.staticPodPath,
    'root-dir': settings.rootDirectory,
  };
  if (asksFor(asked, 'Flagz'))
    return sendJson(asked, {
      kind: 'Flagz',
      apiVersion: 'config.k8s.io/v1alpha1',
      metadata: { name: 'kubelet' },
      flags,
    });
  const lines = Object.entries(flags).map(([name, value]) => `${name}=${value}`);
  sendText(asked, `\nkubelet flagz\n${warning}\n\n${lines.join('\n')}\n`);
}

const asksFor = ({ request }: Asked, kind: string): boolean => request.headers.accept?.includes(`as=${kind}`) ?? false;
