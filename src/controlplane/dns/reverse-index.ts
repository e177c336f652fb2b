import type { EndpointSlice, Service } from '../../api/index.ts';
import { endpointLabel, fullV6 } from './zone.ts';

/** Names by address, for PTR questions. Built when first asked after a change: few ask, and then mostly many. */
export class ReverseIndex {
  #names: Map<string, string[]> | undefined;
  readonly #domain: string;
  readonly #services: () => readonly Service[];
  readonly #slices: () => readonly EndpointSlice[];

  constructor(domain: string, services: () => readonly Service[], slices: () => readonly EndpointSlice[]) {
    this.#domain = domain;
    this.#services = services;
    this.#slices = slices;
  }
  /** Says that Services or slices have changed. */
  invalidate(): void {
    this.#names = undefined;
  }
  namesOf(address: string): readonly string[] {
    this.#names ??= this.#build();
    return this.#names.get(fullV6(address)) ?? [];
  }
  #build(): Map<string, string[]> {
    const names = new Map<string, string[]>();
    const add = (address: string | undefined, name: string) => {
      if (!address || address === 'None') return;
      const key = fullV6(address);
      const list = names.get(key) ?? [];
      if (!list.includes(name)) names.set(key, [...list, name]);
    };
    for (const { metadata, spec } of this.#services()) {
      const name = `${metadata.name}.${metadata.namespace}.svc.${this.#domain}`;
      for (const ip of spec?.clusterIPs ?? [spec?.clusterIP]) add(ip, name);
    }
    for (const { metadata, endpoints = [], addressType } of this.#slices()) {
      const service = metadata.labels?.['kubernetes.io/service-name'];
      if (!service || addressType === 'FQDN') continue;
      for (const endpoint of endpoints) {
        for (const address of endpoint.addresses) {
          add(address, `${endpointLabel(endpoint, address)}.${service}.${metadata.namespace}.svc.${this.#domain}`);
        }
      }
    }
    return names;
  }
}
