import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { devicePlugin } from '../../api/plugins/index.ts';
import { checksum, type Dumped, map, readCheckpoint, text, writeCheckpoint } from '../managers/checkpoint.ts';

/** What a plugin said when devices were given to a container. */
export type AllocateAnswer = devicePlugin.ContainerAllocateResponse;

/** Devices of one resource that a container has. */
export interface DeviceEntry {
  podUid: string;
  container: string;
  resource: string;
  /** Ids by NUMA node; -1 for those without one. */
  devices: ReadonlyMap<number, readonly string[]>;
  answer: AllocateAnswer;
}

/** What is written down. */
export interface DeviceState {
  entries: DeviceEntry[];
  /** Healthy devices by resource. */
  registered: Record<string, string[]>;
}

interface FileEntry {
  PodUID: string;
  ContainerName: string;
  ResourceName: string;
  DeviceIDs: Record<string, string[]> | null;
  AllocResp: string | null;
}

interface DeviceFile {
  Data: { PodDeviceEntries: FileEntry[] | null; RegisteredDevices: Record<string, string[]> | null };
  Checksum: number;
}

const strings = (values: readonly string[] | null): Dumped => ({
  type: '[]string',
  items: values?.map((value) => text('string', value)),
});

function dumpedEntry(entry: FileEntry): Dumped {
  const bytes = entry.AllocResp === null ? undefined : [...Buffer.from(entry.AllocResp, 'base64')];
  return {
    type: 'checkpoint.PodDevicesEntry',
    fields: [
      ['PodUID', text('string', entry.PodUID)],
      ['ContainerName', text('string', entry.ContainerName)],
      ['ResourceName', text('string', entry.ResourceName)],
      ['DeviceIDs', map('checkpoint.DevicesPerNUMA', entry.DeviceIDs ?? {}, strings)],
      ['AllocResp', { type: '[]uint8', items: bytes?.map((byte) => text('uint8', byte)) }],
    ],
  };
}

/** The file's fields as upstream's checksum sees them. */
function dumped({ PodDeviceEntries, RegisteredDevices }: DeviceFile['Data']): Dumped {
  return {
    type: 'checkpoint.checkpointData',
    fields: [
      ['PodDeviceEntries', { type: '[]checkpoint.PodDevicesEntry', items: PodDeviceEntries?.map(dumpedEntry) }],
      ['RegisteredDevices', map('map[string][]string', RegisteredDevices ?? {}, strings)],
    ],
  };
}

/** Reads kubelet_internal_checkpoint; undefined when there is none. @throws Error when it is broken */
export async function readDeviceState(file: string): Promise<DeviceState | undefined> {
  const found = await readCheckpoint<DeviceFile>(file);
  if (!found) return undefined;
  if (checksum(dumped(found.Data)) !== found.Checksum)
    throw new Error(`${file} is corrupt (its checksum does not fit)`);
  const entries = (found.Data.PodDeviceEntries ?? []).map((entry) => ({
    podUid: entry.PodUID,
    container: entry.ContainerName,
    resource: entry.ResourceName,
    devices: new Map(Object.entries(entry.DeviceIDs ?? {}).map(([node, ids]) => [Number(node), ids])),
    answer: fromBinary(devicePlugin.ContainerAllocateResponseSchema, Buffer.from(entry.AllocResp ?? '', 'base64')),
  }));
  return { entries, registered: found.Data.RegisteredDevices ?? {} };
}

/** Writes kubelet_internal_checkpoint. */
export async function writeDeviceState(file: string, { entries, registered }: DeviceState): Promise<void> {
  const PodDeviceEntries = entries.map((entry) => ({
    PodUID: entry.podUid,
    ContainerName: entry.container,
    ResourceName: entry.resource,
    DeviceIDs: Object.fromEntries([...entry.devices].map(([node, ids]) => [node, [...ids]])),
    AllocResp: Buffer.from(toBinary(devicePlugin.ContainerAllocateResponseSchema, entry.answer)).toString('base64'),
  }));
  const Data = {
    PodDeviceEntries: PodDeviceEntries.length > 0 ? PodDeviceEntries : null,
    RegisteredDevices: registered,
  };
  await writeCheckpoint(file, { Data, Checksum: checksum(dumped(Data)) });
}
