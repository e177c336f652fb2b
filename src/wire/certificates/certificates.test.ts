import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../async/index.ts';
import { clientCertificateOf, createHttpServer, HttpClient } from '../http/index.ts';
import {
  createCertificateAuthority,
  createSigningRequest,
  isSignedBy,
  issueCertificate,
  readCertificate,
  readSigningRequest,
  signRequest,
} from './index.ts';

const now = systemClock.now();

test('an authority signs server and client certificates that TLS accepts', async () => {
  const authority = await createCertificateAuthority('kubernetes', now);
  const server = await issueCertificate(
    authority,
    {
      commonName: 'kube-apiserver',
      dnsNames: ['localhost', 'kubernetes'],
      ipAddresses: ['127.0.0.1'],
      usages: ['server'],
    },
    now,
  );
  const client = await issueCertificate(
    authority,
    { commonName: 'admin', organizations: ['system:masters', 'others'], usages: ['client'] },
    now,
  );
  const details = readCertificate(server.cert);
  assert.deepEqual(details.dnsNames, ['localhost', 'kubernetes']);
  assert.deepEqual(details.ipAddresses, ['127.0.0.1']);
  assert.ok(isSignedBy(client.cert, authority.cert));
  const seen: unknown[] = [];
  const listening = createHttpServer({
    tls: { ...server, clientCa: authority.cert },
    handler: (request, response) => {
      seen.push(clientCertificateOf(request));
      response.end('hello');
    },
  });
  const { port } = await listening.listen({ host: '127.0.0.1', port: 0 });
  const known = new HttpClient({ baseUrl: `https://127.0.0.1:${port}`, ca: authority.cert, ...client });
  assert.equal((await known.request({ path: '/' })).body.toString(), 'hello');
  const anonymous = new HttpClient({ baseUrl: `https://localhost:${port}`, ca: authority.cert });
  await anonymous.request({ path: '/' });
  const other = await createCertificateAuthority('other', now);
  const stranger = new HttpClient({
    baseUrl: `https://127.0.0.1:${port}`,
    ca: authority.cert,
    ...(await issueCertificate(other, { commonName: 'admin', usages: ['client'] }, now)),
  });
  await stranger.request({ path: '/' });
  await assert.rejects(new HttpClient({ baseUrl: `https://127.0.0.1:${port}`, ca: other.cert }).request({ path: '/' }));
  assert.deepEqual(seen, [{ commonName: 'admin', organizations: ['system:masters', 'others'] }, undefined, undefined]);
  for (const one of [known, anonymous, stranger]) one.close();
  await listening.close();
});

test('a signing request is read, checked and signed', async () => {
  const authority = await createCertificateAuthority('kubernetes', now);
  const { request } = await createSigningRequest({
    commonName: 'system:node:a',
    organizations: ['system:nodes'],
    dnsNames: ['a'],
    ipAddresses: ['10.0.0.1'],
  });
  const read = await readSigningRequest(request);
  assert.deepEqual(
    [read.commonName, read.organizations, read.dnsNames, read.ipAddresses],
    ['system:node:a', ['system:nodes'], ['a'], ['10.0.0.1']],
  );
  const cert = await signRequest(authority, read, ['client'], now);
  assert.equal(readCertificate(cert).commonName, 'system:node:a');
  assert.deepEqual(readCertificate(cert).organizations, ['system:nodes']);
  await assert.rejects(
    readSigningRequest('-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----'),
  );
});
