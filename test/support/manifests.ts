/** Manifests as users write them, for kubectl. */

/** The web Deployment of the story. */
export function webManifest(image: string, replicas = 3): string {
  return `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: ${image}
        ports: [{name: http, containerPort: 8080}]
        resources:
          requests: {cpu: 10m, memory: 8Mi}
          limits: {cpu: 500m, memory: 32Mi}
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "1"]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]
`;
}

/** A pod that sleeps, to run commands in. */
export function sleeperManifest(name: string, image: string): string {
  return `
apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: ${image}, command: [sleep, "100000"]}]
`;
}
