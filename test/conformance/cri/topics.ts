import type { Topic } from './behaviour.ts';
import { containers } from './behaviours/containers.ts';
import { errors } from './behaviours/errors.ts';
import { events } from './behaviours/events.ts';
import { execution } from './behaviours/exec.ts';
import { idempotence } from './behaviours/idempotence.ts';
import { images } from './behaviours/images.ts';
import { lists } from './behaviours/lists.ts';
import { logs } from './behaviours/logs.ts';
import { networking } from './behaviours/networking.ts';
import { resources } from './behaviours/resources.ts';
import { runtime } from './behaviours/runtime.ts';
import { sandboxes } from './behaviours/sandboxes.ts';
import { security } from './behaviours/security.ts';
import { stats } from './behaviours/stats.ts';
import { volumes } from './behaviours/volumes.ts';

/** Every behaviour, by topic. */
export const topics: readonly Topic[] = [
  runtime,
  sandboxes,
  containers,
  lists,
  execution,
  logs,
  images,
  networking,
  volumes,
  security,
  resources,
  stats,
  events,
  idempotence,
  errors,
];
