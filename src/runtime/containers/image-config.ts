/** What a container takes from its image: the parts of the OCI image configuration that the runtime uses. */
export interface ImageConfig {
  entrypoint: string[];
  cmd: string[];
  env: string[];
  user: string;
  workingDir: string;
  stopSignal: string;
  /** Paths that the image declares as volumes. */
  volumes: string[];
}
