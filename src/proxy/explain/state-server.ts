import { peerUser } from '../../host/system-calls/index.ts';
import type { Logger } from '../../log/index.ts';
import { createHttpServer, type HttpServer, type ServerResponse } from '../../wire/http/index.ts';
import type { IpFamily } from '../model/types.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import { concernsPlan, type PlanQuery, type ProxyState, stateSocket } from './state.ts';

/** What the server reads. It changes nothing. */
export interface StateSource {
  state(): Promise<ProxyState>;
  plans(family: IpFamily): Iterable<ServicePortPlan>;
}

/** Plans in one piece of an answer: other work gets a turn in between. */
const plansPerTurn = 500;

/**
 * Answers `GET /state` and `GET /plans?family=4[&service=…][&address=…&port=…]` (one plan a line) to the proxy's own
 * user and root. Gives undefined, and says why, when another proxy of the network namespace answers already.
 */
export async function serveState(source: StateSource, log: Logger): Promise<HttpServer | undefined> {
  const server = createHttpServer({
    handler: async (request, response) => {
      const url = new URL(request.url ?? '/', 'http://proxy');
      const user = peerUser(request.socket);
      if (user !== 0 && (user === undefined || user !== process.getuid?.()))
        return void response.writeHead(403).end('only for root and the user of the proxy\n');
      if (request.method !== 'GET') return void response.writeHead(405).end('nothing can be changed here\n');
      if (url.pathname === '/state') return answer(response, JSON.stringify(await source.state()));
      if (url.pathname === '/plans') return answerPlans(source, url.searchParams, response);
      response.writeHead(404).end('ask for /state or /plans\n');
    },
  });
  try {
    await server.listen({ socketPath: stateSocket });
    return server;
  } catch (error) {
    log.warn('another proxy of this network namespace answers explain, trace and status', { error });
    return undefined;
  }
}

function answer(response: ServerResponse, body: string): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(body);
}

async function answerPlans(source: StateSource, query: URLSearchParams, response: ServerResponse): Promise<void> {
  const family = Number(query.get('family') ?? 4);
  if (family !== 4 && family !== 6) return void response.writeHead(400).end('family is 4 or 6\n');
  const select: PlanQuery = {
    service: query.get('service') ?? undefined,
    address: query.get('address') ?? undefined,
    port: query.has('port') ? Number(query.get('port')) : undefined,
  };
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  let lines = '';
  let count = 0;
  for (const plan of [...source.plans(family)]) {
    if (concernsPlan(plan, select)) lines += `${JSON.stringify(plan)}\n`;
    if (++count % plansPerTurn > 0) continue;
    response.write(lines);
    lines = '';
    await new Promise((resolve) => setImmediate(resolve));
  }
  response.end(lines);
}
