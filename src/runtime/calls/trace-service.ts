import type { DescMessage, Message } from '@bufbuild/protobuf';
import type { GrpcService } from '../../wire/grpc/index.ts';
import type { CallLog } from './call-log.ts';

/**
 * A service whose requests are looked at first and whose calls are in the log. Streams go on for as long as their readers
 * like and are left out of that.
 */
export function traceService(
  service: GrpcService,
  calls: CallLog,
  check: (schema: DescMessage, request: Message) => void,
): GrpcService {
  const handlers: GrpcService['handlers'] = {};
  for (const method of service.descriptor.methods) {
    const handler = service.handlers[method.localName];
    if (!handler) continue;
    const checked: typeof handler = (request, caller) => {
      check(method.input, request);
      return handler(request, caller);
    };
    handlers[method.localName] =
      method.methodKind === 'server_streaming'
        ? checked
        : (request, caller) => calls.run(method.name, subjectOf(request), caller, (traced) => checked(request, traced));
  }
  return { ...service, handlers };
}

/** What a request is about, in a few words. */
export function subjectOf(request: {
  config?: { metadata?: { name?: string; namespace?: string; attempt?: number } };
  podSandboxId?: string;
  containerId?: string;
  image?: { image?: string };
}): string {
  const { metadata } = request.config ?? {};
  if (metadata?.namespace) return `pod ${metadata.namespace}/${metadata.name}`;
  if (metadata) return `container ${metadata.name} in ${short(request.podSandboxId)}`;
  if (request.containerId) return `container ${short(request.containerId)}`;
  if (request.podSandboxId) return `sandbox ${short(request.podSandboxId)}`;
  return request.image?.image ? `image ${request.image.image}` : '';
}

const short = (id = ''): string => id.slice(0, 13);
