import { equals } from '@bufbuild/protobuf';
import { ContainerConfigSchema, PodSandboxConfigSchema } from '../api/cri/index.ts';
import { Flights } from './calls/index.ts';
import type { RuntimeContext } from './context.ts';

/** What is being made: requests for the same name are the same when their configurations are. */
export function makeFlights(): RuntimeContext['flights'] {
  return {
    sandboxes: new Flights(
      'sandbox',
      (left, right) => left.handler === right.handler && equals(PodSandboxConfigSchema, left.config, right.config),
    ),
    containers: new Flights('container', (left, right) => equals(ContainerConfigSchema, left, right)),
  };
}
