/** What the Docker Engine answers, as far as it is read here (Engine API 1.41 and later). */

/** `GET /containers/json`. */
export interface ContainerSummary {
  Id: string;
  Names: string[];
  Labels: Record<string, string>;
  State: string;
}

/** `GET /containers/{id}/json`. */
export interface ContainerDetails {
  Id: string;
  Name: string;
  Created: string;
  Image: string;
  ResolvConfPath: string;
  HostsPath: string;
  State: {
    Status: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';
    Running: boolean;
    OOMKilled: boolean;
    Pid: number;
    ExitCode: number;
    Error: string;
    StartedAt: string;
    FinishedAt: string;
  };
  Config: { Labels: Record<string, string>; User: string };
  GraphDriver?: { Name: string; Data: Record<string, string> | null };
}

/** `GET /images/json`. */
export interface ImageSummary {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Size: number;
}

/** `GET /images/{name}/json`. */
export interface ImageDetails extends ImageSummary {
  Config?: ImageProcess | null;
  RootFS?: { Layers?: string[] };
}

/** What an image says of its process. */
export interface ImageProcess {
  User?: string;
  Env?: string[] | null;
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  WorkingDir?: string;
  Volumes?: Record<string, object> | null;
  StopSignal?: string;
}

/** `GET /info`. */
export interface EngineInfo {
  ID: string;
  Name: string;
  ServerVersion: string;
  DockerRootDir: string;
  CgroupDriver: string;
  CgroupVersion?: string;
  Driver: string;
  Runtimes?: Record<string, unknown>;
  DefaultRuntime?: string;
  SecurityOptions?: string[] | null;
  LiveRestoreEnabled?: boolean;
  Warnings?: string[] | null;
}

/** `GET /exec/{id}/json`. */
export interface ExecDetails {
  ID: string;
  Running: boolean;
  ExitCode: number | null;
  Pid: number;
}

/** A line of `GET /events`. */
export interface EngineEvent {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes?: Record<string, string> };
  timeNano: number;
}

/** A line of `POST /images/create`. */
export interface PullProgress {
  status?: string;
  id?: string;
  error?: string;
  errorDetail?: { message?: string };
}
