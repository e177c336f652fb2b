import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { RunPodSandboxRequestSchema, RuntimeService } from '../../api/cri/index.ts';
import { checkRequest } from './check-request.ts';

const check = (config: object) =>
  checkRequest(RuntimeService.method.runPodSandbox.input, create(RunPodSandboxRequestSchema, { config }));

test('what is known passes', () => {
  check({});
  check({ portMappings: [{ protocol: 1 }], linux: { securityContext: { namespaceOptions: { pid: 2 } } } });
});

test('numbers that an enumeration does not have are refused with their place', () => {
  assert.throws(() => check({ portMappings: [{}, { protocol: 7 }] }), {
    code: 'INVALID_ARGUMENT',
    message: 'config.port_mappings[1].protocol is 7, which is no Protocol: TCP, UDP, SCTP are known',
  });
  assert.throws(
    () => check({ linux: { securityContext: { namespaceOptions: { network: 9 } } } }),
    /config\.linux\.security_context\.namespace_options\.network is 9/,
  );
});

test('what is for Windows is refused', () => {
  assert.throws(() => check({ windows: {} }), /config\.windows has no meaning on Linux/);
});
