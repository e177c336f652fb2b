/** What commands need to explain packets and to tell the proxy's state. */
export type { ProxyMode } from '../backends/backend.ts';
export { isOfFamily as isAddressOf } from '../model/service.ts';
export type { IpFamily, Protocol } from '../model/types.ts';
export type { Frontend, ServicePortPlan } from '../plan/types.ts';
export { splitEndpoint } from '../tracer/nftables-rendered.ts';
export type { TracedPacket, TraceStep } from '../tracer/packet.ts';
export { type Expectations, expectationsOfApi, expectationsOfProxy } from './expectations.ts';
export { type Candidate, type Explanation, explainPacket, explainUnroutable, percent } from './explain-packet.ts';
export type { KernelView } from './kernel-view.ts';
export { KernelNodeView } from './node-view.ts';
export { findRenderedMode, readKernel } from './read-kernel.ts';
export { type ServicePortStatus, serviceStatus } from './service-status.ts';
export type { PlanQuery, ProxyState, ServiceProblemReport } from './state.ts';
export { frontendAt, frontendOf, parseTarget, type Target, TargetError } from './target.ts';
