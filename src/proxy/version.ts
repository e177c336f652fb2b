/** The version of Kubernetes whose kube-proxy this proxy stands for. */
export const proxyVersion = 'v1.36.2';
