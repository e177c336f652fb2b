import { HttpClient } from '../../wire/http/index.ts';
import type { IpFamily } from '../model/types.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { type PlanQuery, type ProxyState, stateSocket } from './state.ts';

/** Asks the proxy of this network namespace. */
export interface StateClient {
  state: ProxyState;
  plans(family: IpFamily, query?: PlanQuery): Promise<ServicePortPlan[]>;
  close(): void;
}

const timeoutMs = 10_000;

/** Connects to the proxy that runs in this network namespace; undefined when none does. */
export async function connectToProxy(): Promise<StateClient | undefined> {
  const client = new HttpClient({ socketPath: stateSocket });
  const get = async (path: string): Promise<string> => {
    const { status, body } = await client.request({ path, timeoutMs });
    if (status !== 200) throw new Error(`the proxy answered ${status}: ${body.toString().trim()}`);
    return body.toString();
  };
  try {
    const state = JSON.parse(await get('/state')) as ProxyState;
    return {
      state,
      plans: async (family, query = {}) => {
        const given = Object.entries(query).filter(([, value]) => value !== undefined);
        const text = await get(
          `/plans?${new URLSearchParams([['family', String(family)], ...given.map(([name, value]): [string, string] => [name, String(value)])])}`,
        );
        return text.split('\n').flatMap((line) => (line ? [JSON.parse(line) as ServicePortPlan] : []));
      },
      close: () => client.close(),
    };
  } catch (error) {
    client.close();
    if (['ENOENT', 'ECONNREFUSED'].includes((error as { code?: string }).code ?? '')) return undefined;
    throw error;
  }
}
