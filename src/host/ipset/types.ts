/** Kinds of sets that are used here. */
export type SetType = 'hash:ip' | 'hash:ip,port' | 'hash:ip,port,ip' | 'hash:ip,port,net' | 'bitmap:port';

/** A set as it is to be made. */
export interface SetDefinition {
  /** At most 31 characters. */
  name: string;
  type: SetType;
  family: 4 | 6;
  /** How many members it may have; not for bitmaps. */
  maximum?: number;
}

/** A member of a set; which parts it has is the set's type's to say. */
export interface SetMember {
  address?: string;
  protocol?: 'TCP' | 'UDP' | 'SCTP';
  port?: number;
  /** The second address (`hash:ip,port,ip`), or network `10.0.0.0/8` (`hash:ip,port,net`). */
  second?: string;
}

/** A set with its members, as the kernel has it. */
export interface KernelSet {
  name: string;
  type: string;
  family: 4 | 6;
  members: SetMember[];
  /** How many rules and sets refer to it. */
  references: number;
}

/** The text of a member, as the program ipset writes it: `10.0.0.1,tcp:80,10.0.0.2`. */
export function memberText({ address, protocol, port, second }: SetMember): string {
  const parts = [
    ...(address === undefined ? [] : [address]),
    ...(port === undefined ? [] : [protocol ? `${protocol.toLowerCase()}:${port}` : String(port)]),
    ...(second === undefined ? [] : [second]),
  ];
  return parts.join(',');
}
