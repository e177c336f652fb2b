export {
  findIptables,
  type Iptables,
  IptablesError,
  type IptablesErrorCode,
  type IptablesTable,
  type IptablesVariant,
} from './iptables.ts';
