import type { BackendOptions, ProxyMode } from '../backends/backend.ts';
import type { IpFamily } from '../model/types.ts';
import type { ServicePortPlan } from '../plan/types.ts';

/**
 * Where a running proxy answers questions about itself: a unix socket in the abstract namespace. Such a socket belongs
 * to a network namespace, as rules do, has no file that a kill would leave behind, and is gone with its process.
 */
export const stateSocket = '\0deckhand-proxy';

/** What a proxy wants in one family, and how far it is. */
export interface FamilyState {
  family: IpFamily;
  options: BackendOptions;
  /** Service ports that are planned. */
  plans: number;
  /** Changes that wait to be written. */
  pending: number;
  /** Service ports that the kernel refuses. */
  refused: string[];
}

/** Something wrong with a Service, as events tell it. */
export interface ServiceProblemReport {
  service: string;
  reason: string;
  message: string;
  /** Milliseconds since 1970, of the last time. */
  at: number;
  count: number;
}

/** What `GET /state` answers. No secrets: Services, endpoints, options and counts. */
export interface ProxyState {
  mode: ProxyMode;
  nodeName: string;
  pid: number;
  /** Milliseconds since 1970. */
  startedAt: number;
  families: FamilyState[];
  /** The last write or comparison, by family, milliseconds since 1970; missing before the first. */
  lastSync: Partial<Record<IpFamily, number>>;
  /** Rules found changed by others and put right. */
  repairs: number;
  problems: ServiceProblemReport[];
}

/** Which plans are asked for: those of one Service, or those that a packet to this address and port could meet. */
export interface PlanQuery {
  service?: string;
  address?: string;
  port?: number;
}

/** Whether a packet to the address and port could meet what was rendered for the plan. */
export function concernsPlan(plan: ServicePortPlan, { service, address, port }: PlanQuery): boolean {
  if (service !== undefined && plan.service !== service) return false;
  if (address === undefined) return true;
  const ends = [...plan.cluster, ...plan.local];
  return (
    plan.frontends.some((one) => (one.address === '' ? one.port === port : one.address === address)) ||
    ends.some((one) => one.address === address && one.port === port)
  );
}

const mostProblems = 100;

/** The last problems with Services, each kind once for a Service. */
export class ProblemLog {
  readonly #problems = new Map<string, ServiceProblemReport>();

  add(service: string, reason: string, message: string, at: number): void {
    const key = `${service} ${reason} ${message}`;
    const count = (this.#problems.get(key)?.count ?? 0) + 1;
    this.#problems.delete(key);
    this.#problems.set(key, { service, reason, message, at, count });
    for (const oldest of this.#problems.keys()) {
      if (this.#problems.size <= mostProblems) return;
      this.#problems.delete(oldest);
    }
  }
  /** The newest first. */
  list(): ServiceProblemReport[] {
    return [...this.#problems.values()].reverse();
  }
}
