import { isNetlinkError } from '../errors.ts';
import { type MessageWriter, messageFlag } from '../message.ts';
import type { NetlinkSocket } from '../socket.ts';
import { routeMessage } from './constants.ts';
import { unlessGone } from './links.ts';

/** Handles of linux/pkt_sched.h. */
const handle = { root: 0xffffffff, ingressParent: 0xfffffff1, ingress: 0xffff0000 };
/** Attributes of a queueing discipline or a filter (TCA_*), and inside those of each kind. */
const attribute = { kind: 1, options: 2 };
const tokenBucket = { parameters: 1, rate64: 4, burst: 6 };
const universal32 = { selector: 5, actions: 7 };
const matchAll = { actions: 2 };
const action = { kind: 1, options: 2, mirredParameters: 2, stolen: 4, redirectToEgress: 1 };

/** How fast a link may send. */
export interface Rate {
  bitsPerSecond: number;
  /** Bytes that may go at once after a silence. */
  burstBytes: number;
  /** How long a packet may wait before it is dropped. */
  latencyMs: number;
}

/** Limits what a link sends (a token bucket at its root). @throws NetlinkError (`ENOENT` without sch_tbf in the kernel) */
export function limitRate(socket: NetlinkSocket, link: number, rate: Rate): void {
  const bytesPerSecond = Math.max(1, Math.floor(rate.bitsPerSecond / 8));
  const burst = Math.min(rate.burstBytes, 0x7fffffff);
  const limit = Math.min(Math.floor((bytesPerSecond * rate.latencyMs) / 1000) + burst, 0xffffffff);
  // struct tc_tbf_qopt: two rates of twelve bytes (the second, a peak rate, is not used), limit, buffer, mtu.
  const parameters = Buffer.alloc(36);
  const ethernet = 1;
  parameters[1] = ethernet;
  parameters.writeUInt32LE(Math.min(bytesPerSecond, 0xffffffff), 8);
  parameters.writeUInt32LE(limit, 24);
  const write = (writer: MessageWriter) => {
    writer.bytes(header(link, 0, handle.root, 0)).string(attribute.kind, 'tbf');
    writer.nest(attribute.options, () => {
      writer.attribute(tokenBucket.parameters, parameters).u32(tokenBucket.burst, burst);
      if (bytesPerSecond > 0xffffffff) writer.u64(tokenBucket.rate64, BigInt(bytesPerSecond));
    });
  };
  const flags = messageFlag.create | messageFlag.replace;
  socket.request(routeMessage.newDiscipline, flags, write, `limit the rate of link ${link}`);
}

/** Takes the limit away. Gives false when there was none. @throws NetlinkError */
export function unlimitRate(socket: NetlinkSocket, link: number): boolean {
  const write = (writer: MessageWriter) => writer.bytes(header(link, 0, handle.root, 0));
  const subject = `take the rate limit off link ${link}`;
  return unlessGone('ENOENT', () => socket.request(routeMessage.delDiscipline, 0, write, subject));
}

/**
 * Hands all that comes in on a link to another one, which sends it on; so that it can be limited there.
 * @throws NetlinkError (`ENOENT` without the classifiers or the action in the kernel)
 */
export function redirectIncoming(socket: NetlinkSocket, link: number, to: number): void {
  const create = messageFlag.create | messageFlag.exclusive;
  const discipline = (writer: MessageWriter) =>
    writer.bytes(header(link, handle.ingress, handle.ingressParent, 0)).string(attribute.kind, 'ingress');
  socket.request(routeMessage.newDiscipline, create, discipline, `look at what comes in on link ${link}`);
  const subject = `redirect what comes in on link ${link}`;
  const filter = (kind: string, options: (writer: MessageWriter) => void) => (writer: MessageWriter) => {
    const [priority, allProtocols] = [1, 0x0300];
    writer.bytes(header(link, 0, handle.ingress, ((priority << 16) | allProtocols) >>> 0)).string(attribute.kind, kind);
    writer.nest(attribute.options, () => options(writer));
  };
  try {
    const everything = filter('matchall', (writer) => writeRedirect(writer, matchAll.actions, to));
    socket.request(routeMessage.newFilter, create, everything, subject);
  } catch (error) {
    if (!isNetlinkError(error, 'ENOENT')) throw error;
    const anything = filter('u32', (writer) => {
      writeRedirect(writer, universal32.actions, to);
      writer.attribute(universal32.selector, selectAll());
    });
    socket.request(routeMessage.newFilter, create, anything, subject);
  }
}

/** struct tc_u32_sel with one key that every packet has. */
function selectAll(): Buffer {
  const [terminal, keys] = [1, 1];
  return Buffer.concat([Buffer.from([terminal, 0, keys, 0]), Buffer.alloc(12), Buffer.alloc(16)]);
}

function writeRedirect(writer: MessageWriter, list: number, to: number): void {
  // struct tc_mirred
  const parameters = Buffer.alloc(28);
  parameters.writeInt32LE(action.stolen, 8);
  parameters.writeInt32LE(action.redirectToEgress, 20);
  parameters.writeUInt32LE(to, 24);
  writer.nest(list, () =>
    writer.nest(1, () => {
      writer.string(action.kind, 'mirred');
      writer.nest(action.options, () => writer.attribute(action.mirredParameters, parameters));
    }),
  );
}

/** struct tcmsg */
function header(link: number, own: number, parent: number, info: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeInt32LE(link, 4);
  bytes.writeUInt32LE(own, 8);
  bytes.writeUInt32LE(parent, 12);
  bytes.writeUInt32LE(info, 16);
  return bytes;
}
