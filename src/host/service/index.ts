export { notifyService } from './notify-service.ts';
export {
  runVisible,
  type ServiceProcess,
  type SpawnServiceOptions,
  spawnDetached,
  spawnService,
} from './spawn-service.ts';
