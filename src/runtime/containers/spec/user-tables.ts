import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { codeOf, invalid } from '../../errors.ts';
import { resolveInRoot } from './root-path.ts';

/** A line of /etc/passwd. */
export interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
}

/** A line of /etc/group. */
export interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/** The users and groups that an image knows. */
export interface UserTables {
  users: readonly PasswdEntry[];
  groups: readonly GroupEntry[];
}

/** Larger files are nobody's list of users. */
const largestBytes = 4 << 20;

/** What is larger is read each time, so that a few odd images do not take the runtime's memory. */
const mostRemembered = 2000;

/** Images whose tables are remembered; a container has not run yet when it is asked, so its root is its image's. */
const mostImages = 64;

/** The tables of images by their ids. */
export class UserTableCache {
  readonly #tables = new Map<string, Promise<UserTables>>();

  /** Those of an image, whose files are at the root. */
  get(imageId: string, root: string): Promise<UserTables> {
    const known = this.#tables.get(imageId) ?? readUserTables(root);
    // What is asked for last is forgotten last.
    this.#tables.delete(imageId);
    this.#tables.set(imageId, known);
    void known.then(
      ({ users, groups }) => users.length + groups.length > mostRemembered && this.#tables.delete(imageId),
      () => this.#tables.delete(imageId),
    );
    const [oldest] = this.#tables.keys();
    if (this.#tables.size > mostImages && oldest !== undefined) this.#tables.delete(oldest);
    return known;
  }
}

/** Reads the tables of a root. Lines that are not as they should be are passed over, as everybody does. */
export async function readUserTables(root: string): Promise<UserTables> {
  const [users, groups] = await Promise.all([readTable(root, '/etc/passwd'), readTable(root, '/etc/group')]);
  return {
    users: users.flatMap(([name = '', , uid, gid]) =>
      isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid) }] : [],
    ),
    groups: groups.flatMap(([name = '', , gid, members = '']) =>
      isId(gid) ? [{ name, gid: Number(gid), members: members.split(',').filter(Boolean) }] : [],
    ),
  };
}

const isId = (text: string | undefined): boolean => /^\d+$/.test(text ?? '');

async function readTable(root: string, path: string): Promise<string[][]> {
  return ((await readSmallFile(await resolveInRoot(root, path), path)) ?? '')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

/** An image may have anything there: a pipe that never ends, a device. Only a file of a sensible size is read. */
async function readSmallFile(path: string, name: string): Promise<string | undefined> {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const file = await open(path, flags).catch((cause: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(cause) ?? '')) return undefined;
    throw invalid(`the image's ${name} cannot be read: ${(cause as Error).message}`);
  });
  if (!file) return undefined;
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw invalid(`the image's ${name} is not a file`);
    if (stats.size > largestBytes) throw invalid(`the image's ${name} is larger than ${largestBytes >> 20} MiB`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
