export { type KubeletServer, startKubeletServer } from './start-kubelet-server.ts';
