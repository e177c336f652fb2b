export { Informers } from './framework/informers.ts';
export { type ControllersConfig, controllerNames, startControllers } from './start-controllers.ts';
