/** What is known to differ, by `topic: name`, with the reason. */
export type Deviations = Readonly<Record<string, string>>;

/** Ours: what is still to be done. */
export const ourDeviations: Deviations = {};

/** Debian's containerd (1.6), the control: what fails there as well as here is the machine's, not ours. */
export const containerdDeviations: Deviations = {
  'runtime: the image file system is told with its use': 'its use is measured now and then: a young one has none yet',
  'sandboxes: unprivileged containers may listen on low ports and ping':
    'only where enable_unprivileged_ports and enable_unprivileged_icmp are set',
  'sandboxes: an interrupted pod can be run again under its next attempt with the same containers':
    'names of containers are those of the pod, whatever its attempt',
  'containers: a container that cannot be is refused: no config, no name, no image, a sandbox that is not there':
    'a container may have no name',
  'images: by tag, and without one for latest': 'lists of images are not filtered',
  'images: one that is not there has an empty status, is in no list, and its removal is no error':
    'lists of images are not filtered',
  'exec: a command that takes too long is an error, and is gone with its children':
    'children of a command live on when it is killed, and hold up the answer',
  'exec: streamed: what is typed arrives, and its end too':
    'now and then it ends the output early, or does not end the container afterwards, on a busy machine',
  'logs: a megabyte as fast as it comes is whole': 'now and then the last lines of one that ends at once never come',
  'containers: a container over its memory is OOMKilled': 'now and then the news comes after the end',
  'security: a capability that there is not is refused': 'unknown capabilities are passed over',
  'security: ambient capabilities are in effect for a user other than root': 'the field is not looked at',
  'security: AppArmor: where the kernel has none, a profile is refused and Unconfined is fine':
    'RuntimeDefault is refused too',
  'idempotence: the stop and the removal of what is not there are no errors': 'the stop is one',
  'idempotence: sandboxes and containers may be stopped and removed again': 'the stop of what is gone is an error',
  'idempotence: a second call for what is being made joins the first and gets the same id':
    'the second is refused: the name is reserved',
  'idempotence: a caller who left gets the sandbox when it asks again':
    'the name is reserved until the first call ends',
  'idempotence: stops and removals at once all succeed': 'a removal that meets another is an error',
  'stats: a sandbox’s CPU, memory, network and processes, and its containers':
    'only for a sandbox whose request names a cgroup parent',
  'stats: lists of sandboxes’ stats by id and labels': 'only for a sandbox whose request names a cgroup parent',
  'stats: lists of stats by id, by sandbox and by labels; containers that do not run have none':
    'containers that never ran are told too',
  'errors: every call about a container that is not there says NOT_FOUND and names it': 'some do not name it',
  'errors: every call about a sandbox that is not there says NOT_FOUND and names it': 'some do not name it',
};

/** Ours in the second kernel, which has only what user mode Linux has. */
export const secondKernelDeviations: Deviations = {};

/** Our adapter over Debian's Docker Engine (20.10): what the engine cannot do, or does in its own way. */
export const dockerDeviations: Deviations = {
  'containers: the verbose status holds the process and the OCI configuration':
    'the engine keeps the OCI configuration to itself',
  'volumes: a directory or a file of an image as a volume; one that is not there is refused': 'from Docker 28 on',
  'volumes: an image as a volume: its files, read-only, and programs in it run': 'from Docker 28 on',
  'security: ambient capabilities are in effect for a user other than root': 'the engine cannot, and it is refused',
};
