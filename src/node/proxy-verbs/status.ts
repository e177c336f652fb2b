import { readKernel, serviceStatus } from '../../proxy/index.ts';
import { type ComponentContext, defineVerb } from '../component-module.ts';
import { UsageError } from '../flags.ts';
import { openSources, type Sources, type SourceValues, sourceFlags } from './open-sources.ts';
import { printProxyStatus } from './print-status.ts';
import type { FamilyStatus, ProxyStatus } from './proxy-status.ts';

export default defineVerb({
  summary: 'show what is wanted and what the kernel has, Service by Service',
  usage: `[OPTIONS]

Asks the proxy that runs in this network namespace; without one, plans what the API server's objects say (--kubeconfig).
Exits with 0 when the kernel has everything as it should be, with 1 when something is missing, otherwise or refused.`,
  flags: {
    service: { type: 'string', value: 'NS/NAME', help: 'only this Service, with its endpoints and differences' },
    all: { type: 'boolean', short: 'a', help: 'every Service, not only as many as fit on a screen' },
    ...sourceFlags,
  },
  async run(values, context) {
    if (values.service !== undefined && !/^[^/]+\/[^/]+$/.test(values.service))
      throw new UsageError(`--service ${values.service} is not NAMESPACE/NAME`);
    const sources = await openSources(values as SourceValues, context);
    try {
      const status = await collectProxyStatus(values.service, sources, context);
      if (values.output === 'json') console.log(JSON.stringify(status, undefined, 2));
      else
        console.log(
          printProxyStatus(status, {
            all: values.all,
            details: values.service !== undefined,
            now: context.clock.now(),
          }),
        );
      return isFine(status) ? 0 : 1;
    } finally {
      sources.close();
    }
  },
});

function isFine({ services, families }: ProxyStatus): boolean {
  return services.every((one) => one.kernel === 'yes' && !one.refused) && families.every((one) => one.kernel === 'yes');
}

/** Compares all Services, or one, with the kernel. */
export async function collectProxyStatus(
  service: string | undefined,
  { expectations, apiError }: Sources,
  context: ComponentContext,
): Promise<ProxyStatus> {
  if (!expectations) throw new Error(`no proxy runs in this network namespace, and ${apiError}`);
  const { origin, mode, nodeName, state } = expectations;
  const status: ProxyStatus = { origin, mode, nodeName, state, families: [], services: [] };
  for (const family of expectations.families) {
    const options = expectations.options(family);
    const plans = await expectations.plans(family, service === undefined ? {} : { service });
    // A cluster of one family needs nothing of the other.
    if (origin === 'api' && plans.length === 0) continue;
    const found: FamilyStatus = { family, kernel: 'no', differences: [], surplus: [] };
    status.families.push(found);
    const kernel = await readKernel(mode, family, context).catch((error: Error) => {
      found.kernel = 'unread';
      found.error = error.message;
    });
    try {
      if (kernel) {
        if (service === undefined) kernel.preload();
        found.differences = kernel.compareBase(options).differences;
        if (service === undefined) found.surplus = kernel.surplus(plans, options);
        found.kernel = found.differences.length + found.surplus.length > 0 ? 'differs' : 'yes';
      }
      const refused = state?.families.find((one) => one.family === family)?.refused ?? [];
      status.services.push(...serviceStatus(plans, options, kernel ?? undefined, refused));
    } finally {
      kernel?.close();
    }
  }
  if (service !== undefined && status.services.length === 0)
    throw new UsageError(`--service ${service}: there is no such Service for this proxy`);
  return status;
}
