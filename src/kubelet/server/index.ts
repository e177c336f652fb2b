export { type KubeletServer, type KubeletServerOptions, startKubeletServer } from './start-kubelet-server.ts';
