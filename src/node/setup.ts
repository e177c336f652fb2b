import { runVisible } from '../host/service/index.ts';
import {
  demoRequirements,
  findObstacles,
  missing,
  type Requirement,
  requirements,
  testRequirements,
} from './requirements.ts';

/** What `deckhand setup` is to bring. */
export interface SetupOptions {
  /** Also what the tests need. */
  tests: boolean;
  /** Say nothing when there is nothing to do. */
  quiet: boolean;
  print: (line: string) => void;
}

/** Installs the Debian packages of the programs that are missing, naming each. @throws Error saying what stands in the way */
export async function setUp(options: SetupOptions): Promise<void> {
  const obstacles = findObstacles();
  if (obstacles.length > 0) throw new Error(obstacles.join('; '));
  const wanted: Requirement[] = [...requirements, ...demoRequirements, ...(options.tests ? testRequirements : [])];
  const absent = missing(wanted);
  if (absent.length === 0) {
    if (!options.quiet) options.print('everything that a node needs is installed');
    return;
  }
  for (const { program, package: name, use } of absent)
    options.print(`installing ${name}: ${program} is missing (${use})`);
  const packages = [...new Set(absent.map((one) => one.package))];
  if (missing([{ program: 'apt-get', paths: ['/usr/bin/apt-get'], package: 'apt', use: '' }]).length > 0) {
    throw new Error(
      `this machine has no apt-get: install ${packages.join(', ')} (or their equivalents) with its own package manager`,
    );
  }
  const environment = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...packages];
  if ((await runVisible('apt-get', install, environment, true)) !== 0) {
    // Package lists may be missing or old on a fresh machine.
    await runVisible('apt-get', ['update', '-qq'], environment, true);
    if ((await runVisible('apt-get', install, environment, false)) !== 0) {
      throw new Error(`apt-get could not install ${packages.join(', ')}: see its message above`);
    }
  }
  const still = missing(wanted);
  if (still.length > 0) {
    throw new Error(
      `still missing after the installation: ${still.map((one) => `${one.program} (package ${one.package})`).join(', ')}`,
    );
  }
}
