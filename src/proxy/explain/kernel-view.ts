import type { BackendOptions, ProxyMode } from '../backends/backend.ts';
import type { ServicePortPlan } from '../plan/types.ts';
import type { TraceableRules } from '../tracer/packet.ts';

/** What the kernel holds of one mode and family, to be compared with what should be there. */
export interface KernelView {
  readonly mode: ProxyMode;
  /** The rules as the kernel has them. */
  readonly rules: TraceableRules;
  /**
   * What of this plan is missing or otherwise in the kernel, one sentence each; empty when all is there. `options` are
   * those of the proxy that should have written it.
   */
  differences(plan: ServicePortPlan, options: BackendOptions): string[];
  /** The same for what does not depend on Services. */
  baseDifferences(options: BackendOptions): string[];
  /** Reads everything at once, for when many plans are to be compared. */
  preload(): void;
  close(): void;
}
