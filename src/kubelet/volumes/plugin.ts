/**
 * The seam between the volume manager and the kinds of volumes.
 *
 * ```
 *   pod's volume ─resolve─► ResolvedVolume ─► plugin
 *     attach.wait          (only what a controller attaches to the node)
 *     device.mount         once per node, however many pods use the volume
 *     setUp                once per pod; again whenever the content is to follow the API, or after a restart
 *     ...
 *     tearDown             once per pod, from what is on disk alone
 *     device.unmount       after the last pod's tearDown, from what is on disk alone
 * ```
 * Every call may be repeated, and the process may die between any two: what a teardown needs has to be on disk (or be
 * told by the kernel's mount table) before the first thing that needs undoing is done. The manager runs one call at a
 * time for a volume of a pod, and one at a time for a device.
 */
import type { PersistentVolume, PersistentVolumeClaim, Pod, Volume } from '../../api/index.ts';
import type { VolumeUsage } from '../pods/ports.ts';

export type { VolumeUsage };

/** A pod's volume with what stands behind it. */
export interface ResolvedVolume {
  /** As the pod's spec has it. */
  volume: Volume;
  /** Name of its directory: its own or, of a claim, that of the persistent volume. */
  directoryName: string;
  /** Of a persistentVolumeClaim or an ephemeral volume. */
  claim?: PersistentVolumeClaim;
  persistentVolume?: PersistentVolume;
  mode: VolumeMode;
  /** The pod (or the persistent volume's source) asks for a mount that nobody can write to. */
  readOnly: boolean;
  /** mountOptions of the persistent volume. */
  mountOptions: readonly string[];
}

/** Whether a volume is a directory or a device. */
export type VolumeMode = 'Filesystem' | 'Block';

/** A volume of a pod as its directory tells of it. */
export interface VolumeOnDisk {
  podUid: string;
  /** {@link VolumePlugin.name} of the plugin that made it. */
  plugin: string;
  /** The directory's name. */
  name: string;
  /** `pods/<uid>/volumes/<plugin>/<name>`, of a block volume `pods/<uid>/volumeDevices/<plugin>/<name>`. */
  path: string;
  mode: VolumeMode;
}

/** What a volume is to be made from. */
export interface SetUpRequest extends VolumeOnDisk {
  pod: Pod;
  volume: ResolvedVolume;
  /** What `attach.wait` gave. */
  attachment?: Attachment;
  /** Where the device is mounted (or staged), when the plugin has that phase for this volume. */
  devicePath?: string;
  /** The group that is to own the volume, where the plugin can give it to one. */
  fsGroup?: FsGroup;
  signal: AbortSignal;
}

/** pod.spec.securityContext.fsGroup with its policy. */
export interface FsGroup {
  gid: number;
  onRootMismatch: boolean;
}

/** A volume that has been attached to the node. */
export interface Attachment {
  /** Path of the device, when the attacher tells one. */
  devicePath?: string;
  /** What the attacher says about it. */
  metadata?: Readonly<Record<string, string>>;
}

/** A kind of volumes. */
export interface VolumePlugin {
  /** `kubernetes.io/configmap`: names the directories (with a `~` for the stroke) and metrics. */
  readonly name: string;
  /** Whether the volume is of this kind. The first plugin that says so gets it. */
  supports(volume: ResolvedVolume): boolean;
  /**
   * Makes the volume usable and gives the path on the host that containers get: of a block volume the device's. Done
   * already is no error. Its error's text follows `MountVolume.SetUp failed for volume "..." : ` in an event.
   */
  setUp(request: SetUpRequest): Promise<string>;
  /** Takes the volume of a pod away; afterwards nothing is mounted below its directory. Nothing there is no error. */
  tearDown(found: VolumeOnDisk): Promise<void>;
  /** Whether the volume's content follows objects of the API: then setUp is called again whenever one of them changes. */
  follows?(volume: ResolvedVolume): boolean;
  /** Whether a volume must also be set up anew each syncFrequency: nobody tells of all that it follows. */
  resyncs?(volume: ResolvedVolume): boolean;
  /** How full it is. Without it: what the file system says, or (`tree`) the sizes of its files added up. */
  readonly usage?: 'tree' | 'filesystem' | 'none' | ((found: VolumeOnDisk) => Promise<VolumeUsage | undefined>);
  /** For what a controller attaches to the node. */
  readonly attach?: AttachPhase;
  /** For what is mounted once per node, before the pods' own mounts. */
  readonly device?: DevicePhase;
  /**
   * The claim or the persistent volume of a mounted volume has another size than when it was last looked at (also called
   * once after setUp): grow what is on the node.
   * @returns whether the volume has the new size; false when the node has nothing to do with it
   */
  expand?(request: SetUpRequest): Promise<boolean>;
  /** The pod is going: watches and timers that were kept for it end. */
  forget?(podUid: string): void;
  /** The kubelet ends. */
  stop?(): Promise<void> | void;
}

/** The part of a plugin whose volumes are attached by a controller. */
export interface AttachPhase {
  /**
   * Name of the volume in the node's status (`volumesInUse`, `volumesAttached`): `kubernetes.io/csi/<driver>^<handle>`;
   * undefined when this one needs no attaching. It is in the status before `wait` is called.
   */
  uniqueName(volume: ResolvedVolume, pod: Pod): Promise<string | undefined> | string | undefined;
  /** The same, of a volume that was found on disk after a restart. */
  uniqueNameOnDisk(found: VolumeOnDisk): Promise<string | undefined>;
  /** Resolves when the volume is attached to this node. Its error's text goes into the event. */
  wait(volume: ResolvedVolume, pod: Pod, signal: AbortSignal): Promise<Attachment>;
}

/** The part of a plugin that mounts once per node. */
export interface DevicePhase {
  /**
   * The path where the device is (to be) mounted for all pods, which also is its identity; undefined when this volume has
   * no such phase.
   */
  path(volume: ResolvedVolume, pod: Pod): Promise<string | undefined> | string | undefined;
  /** The same, of a volume that was found on disk. */
  pathOnDisk(found: VolumeOnDisk): Promise<string | undefined>;
  /** Mounts it there. Its error's text follows `MountVolume.MountDevice failed for volume "..." : ` in an event. */
  mount(request: SetUpRequest & { devicePath: string }): Promise<void>;
  /** Unmounts what is there. Nothing there is no error. */
  unmount(devicePath: string): Promise<void>;
  /** Paths of all that are on this node, whoever left them there. */
  list(): Promise<string[]>;
}
