/** The kubelet's own metrics, by the names that dashboards know. Data; what counts them is elsewhere. */

/** One metric: its labels in order, and for a histogram its upper bounds. */
export interface Definition {
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels?: readonly string[];
  /** Upper bounds; without them 5 ms to 10 s. */
  buckets?: readonly number[];
  /** Which endpoint shows it. Default /metrics. */
  endpoint?: 'probes';
}

const counter = (help: string, ...labels: string[]): Definition => ({ type: 'counter', help, labels });
const gauge = (help: string, ...labels: string[]): Definition => ({ type: 'gauge', help, labels });
const histogram = (help: string, buckets: readonly number[] | undefined, ...labels: string[]): Definition => ({
  type: 'histogram',
  help,
  labels,
  ...(buckets ? { buckets } : {}),
});
const exponential = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => Number((first * factor ** i).toPrecision(12)));

/** Bounds where none are said, seconds. */
export const defaultBuckets: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Ours start lower than upstream's: pods are ready within tens of milliseconds here. */
const startBuckets = [
  0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800,
  2700, 3600,
];
const pullBuckets = [1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600];
const operationBuckets = exponential(0.005, 2.5, 14);
const statusBuckets = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 45, 60];
const requestBuckets = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];

/** Pods: how many, how long they take, what was refused. */
const pods = {
  kubelet_node_name: gauge('The name of the node; always 1', 'node'),
  kubelet_running_pods: gauge('Pods that have a running sandbox'),
  kubelet_running_containers: gauge('Containers by their state', 'container_state'),
  kubelet_desired_pods: gauge('Pods that the kubelet was told to run; static are those from files', 'static'),
  kubelet_active_pods: gauge('Pods that have not come to their end', 'static'),
  kubelet_mirror_pods: gauge('Pictures of static pods in the API'),
  kubelet_working_pods: gauge('Pods that are worked on', 'lifecycle', 'config', 'static'),
  kubelet_orphaned_runtime_pods_total: counter('Pods that the runtime had and nobody else knew'),
  kubelet_managed_ephemeral_containers: gauge('Ephemeral containers in the pods of this node'),
  kubelet_containers_per_pod_count: histogram('Containers in each pod that was taken on', exponential(1, 2, 5)),
  kubelet_pod_worker_duration_seconds: histogram('Time of one turn of work on a pod', undefined, 'operation_type'),
  kubelet_pod_worker_start_duration_seconds: histogram('From seeing a pod to the first turn of work on it', undefined),
  kubelet_pod_start_duration_seconds: histogram('From seeing a pod to all its containers running', startBuckets),
  kubelet_pod_start_sli_duration_seconds: histogram(
    'From the creation of a pod to the written status that says its containers run, less pulls and init containers',
    startBuckets,
  ),
  kubelet_pod_start_total_duration_seconds: histogram(
    'From the creation of a pod to the written status that says its containers run, pulls and init containers included',
    startBuckets,
  ),
  kubelet_first_network_pod_start_sli_duration_seconds: gauge('The same of the first pod with a network of its own'),
  kubelet_pod_status_sync_duration_seconds: histogram('From a changed status to its being written', statusBuckets),
  kubelet_preemptions: counter(
    'Pods that were ended so that a critical one has room, by what was short',
    'preemption_signal',
  ),
  kubelet_evictions: counter('Pods that were ended because the node ran short, by the signal', 'eviction_signal'),
  kubelet_eviction_stats_age_seconds: histogram(
    'Age of the figures by which a pod was evicted',
    undefined,
    'eviction_signal',
  ),
  kubelet_container_requested_resizes_total: counter(
    'Changes of the resources of containers that were asked for',
    'resource',
    'requirement',
    'operation',
  ),
  kubelet_pod_resize_duration_milliseconds: histogram(
    'Time to put granted resources into force',
    exponential(10, 2, 15),
    'success',
  ),
  kubelet_pod_pending_resizes: gauge('Pods whose resize is not granted', 'reason'),
  kubelet_pod_infeasible_resizes_total: counter('Resizes that this node can never grant', 'reason_detail'),
  kubelet_pod_in_progress_resizes: gauge('Pods whose resize is granted and not in force'),
  kubelet_pod_deferred_accepted_resizes_total: counter(
    'Resizes that were granted after a wait, by what let them be looked at',
    'retry_trigger',
  ),
  kubelet_admission_rejections_total: counter('Pods that were not admitted', 'reason'),
  kubelet_started_pods_total: counter('Sandboxes that were started'),
  kubelet_started_pods_errors_total: counter('Sandboxes that could not be started'),
  kubelet_started_user_namespaced_pods_total: counter('Sandboxes started with a user namespace of their own'),
  kubelet_started_user_namespaced_pods_errors_total: counter('Those that could not be started'),
  kubelet_started_containers_total: counter('Containers that were started', 'container_type'),
  kubelet_started_containers_errors_total: counter('Containers that could not be started', 'container_type', 'code'),
  kubelet_terminated_containers_total: counter('Containers that ended', 'container_type', 'exit_code', 'reason'),
  kubelet_lifecycle_handler_http_fallbacks_total: counter('Hooks over HTTPS that were answered over HTTP'),
  kubelet_sleep_action_terminated_early_total: counter('Sleeping hooks that were cut short'),
} satisfies Record<string, Definition>;

/** The runtime, and how it is watched. */
const runtime = {
  kubelet_runtime_operations_total: counter('Calls of the container runtime', 'operation_type'),
  kubelet_runtime_operations_errors_total: counter('Calls of the container runtime that failed', 'operation_type'),
  kubelet_runtime_operations_duration_seconds: histogram(
    'Time of calls of the container runtime',
    operationBuckets,
    'operation_type',
  ),
  kubelet_run_podsandbox_duration_seconds: histogram('Time to start a sandbox', undefined, 'runtime_handler'),
  kubelet_run_podsandbox_errors_total: counter('Sandboxes that the runtime could not start', 'runtime_handler'),
  kubelet_pleg_relist_duration_seconds: histogram('Time to list all that the runtime has', undefined),
  kubelet_pleg_relist_interval_seconds: histogram('Time between two such lists', [0.5, 1, 2.5, 5, 10, 15, 30, 60, 180]),
  kubelet_pleg_last_seen_seconds: gauge('When the runtime was last listed, seconds since 1970'),
  kubelet_pleg_pod_relist_duration_seconds: histogram('Time to look at one thing of one pod again', undefined),
  kubelet_pleg_discard_events: counter('Events of the runtime that could not be taken over'),
  kubelet_evented_pleg_connection_success_count: counter('Event streams of the runtime that were opened'),
  kubelet_evented_pleg_connection_error_count: counter('Event streams of the runtime that broke or did not open'),
  kubelet_evented_pleg_connection_latency_seconds: histogram('From an event of the runtime to its arrival', undefined),
  kubelet_image_pull_duration_seconds: histogram('Time of pulls, by size', pullBuckets, 'image_size_in_bytes'),
  kubelet_cgroup_manager_duration_seconds: histogram('Time of work on cgroups of pods', undefined, 'operation_type'),
  kubelet_cgroup_version: gauge('The version of control groups: 1 (also hybrid) or 2'),
} satisfies Record<string, Definition>;

/** The last shutdown of the node. */
const shutdown = {
  kubelet_graceful_shutdown_start_time_seconds: gauge('When the node was last shut down, seconds since 1970'),
  kubelet_graceful_shutdown_end_time_seconds: gauge('When its pods had ended, seconds since 1970'),
} satisfies Record<string, Definition>;

/** Images: who gives logins, what was removed. */
const images = {
  kubelet_image_garbage_collected_total: counter('Images that were removed, for their age or for room', 'reason'),
  kubelet_image_manager_ensure_image_requests_total: counter(
    'Images that containers asked for',
    'present_locally',
    'pull_policy',
    'pull_required',
  ),
  kubelet_credential_provider_plugin_duration_seconds: histogram(
    'Time of programs that give logins',
    undefined,
    'plugin_name',
  ),
  kubelet_credential_provider_plugin_errors_total: counter('Failures of programs that give logins', 'plugin_name'),
} satisfies Record<string, Definition>;

/** Processors, memory and devices of containers; plugins. */
const allocation = {
  kubelet_cpu_manager_pinning_requests_total: counter('Containers that asked for processors of their own'),
  kubelet_cpu_manager_pinning_errors_total: counter('Those that could not have them'),
  kubelet_cpu_manager_shared_pool_size_millicores: gauge('Processors that nobody has for itself, less reserved ones'),
  kubelet_cpu_manager_exclusive_cpu_allocation_count: gauge('Processors that containers have for themselves'),
  kubelet_cpu_manager_allocation_per_numa: gauge('The same by NUMA node', 'numa_node'),
  kubelet_memory_manager_pinning_requests_total: counter('Containers whose memory was to come from certain NUMA nodes'),
  kubelet_memory_manager_pinning_errors_total: counter('Those for whom it was not to be had'),
  kubelet_topology_manager_admission_requests_total: counter('Pods for whom a place was looked for'),
  kubelet_topology_manager_admission_errors_total: counter('Those that got none'),
  kubelet_topology_manager_admission_duration_ms: histogram('Time of that', exponential(0.05, 2, 15)),
  kubelet_device_plugin_registration_total: counter('Registrations of device plugins', 'resource_name'),
  kubelet_device_plugin_alloc_duration_seconds: histogram('Time of device plugins to give', undefined, 'resource_name'),
  kubelet_pod_resources_endpoint_requests_total: counter('Requests to podresources', 'server_api_version'),
  kubelet_pod_resources_endpoint_requests_list: counter('Those for all pods', 'server_api_version'),
  kubelet_pod_resources_endpoint_requests_get: counter('Those for one pod', 'server_api_version'),
  kubelet_pod_resources_endpoint_requests_get_allocatable: counter('Those for what there is', 'server_api_version'),
  kubelet_pod_resources_endpoint_errors_get: counter('Requests for pods that are not there', 'server_api_version'),
  plugin_manager_total_plugins: gauge('Plugins that are registered', 'socket_path', 'state'),
} satisfies Record<string, Definition>;

/** The server, and who is asked. */
const talk = {
  kubelet_http_requests_total: counter('Requests', 'method', 'path', 'server_type', 'long_running'),
  kubelet_http_inflight_requests: gauge('Requests under way', 'method', 'path', 'server_type', 'long_running'),
  kubelet_http_requests_duration_seconds: histogram(
    'Time of requests',
    undefined,
    'method',
    'path',
    'server_type',
    'long_running',
  ),
  kubelet_websocket_streaming_requests_total: counter('Streams that were asked for over WebSocket', 'subresource'),
  kubelet_certificate_manager_server_ttl_seconds: gauge('Seconds until the certificate of the server ends'),
  kubelet_certificate_manager_client_ttl_seconds: gauge('Seconds until the certificate of the client ends'),
  rest_client_requests_total: counter('Requests to the API server', 'code', 'method', 'host'),
  rest_client_request_duration_seconds: histogram('Time of requests to it', requestBuckets, 'verb', 'host'),
  kubernetes_build_info: gauge('Always 1; the labels tell the versions', 'git_version', 'deckhand', 'node', 'platform'),
  kubernetes_healthcheck: gauge('1 where a check of health passes', 'name', 'type'),
  kubernetes_healthchecks_total: counter('Checks of health by result', 'name', 'type', 'status'),
} satisfies Record<string, Definition>;

/** Disks. */
const disks = {
  kubelet_volume_stats_capacity_bytes: gauge('Capacity of a volume', 'namespace', 'persistentvolumeclaim'),
  kubelet_volume_stats_available_bytes: gauge('Free bytes of a volume', 'namespace', 'persistentvolumeclaim'),
  kubelet_volume_stats_used_bytes: gauge('Used bytes of a volume', 'namespace', 'persistentvolumeclaim'),
  kubelet_volume_stats_inodes: gauge('Inodes of a volume', 'namespace', 'persistentvolumeclaim'),
  kubelet_volume_stats_inodes_free: gauge('Free inodes of a volume', 'namespace', 'persistentvolumeclaim'),
  kubelet_volume_stats_inodes_used: gauge('Used inodes of a volume', 'namespace', 'persistentvolumeclaim'),
  kubelet_volume_stats_health_status_abnormal: gauge(
    'Whether a volume is not well, as its driver says: 1, or 0',
    ...['namespace', 'persistentvolumeclaim'],
  ),
  kubelet_container_log_filesystem_used_bytes: gauge(
    "Bytes of a container's logs",
    'uid',
    'namespace',
    'pod',
    'container',
  ),
} satisfies Record<string, Definition>;

/** Work on volumes. */
const volumes = {
  storage_operation_duration_seconds: histogram(
    'Time of operations on volumes',
    [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600],
    ...['volume_plugin', 'operation_name', 'status', 'migrated'],
  ),
  csi_operations_seconds: histogram(
    'Time of calls of CSI drivers',
    [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600],
    ...['driver_name', 'method_name', 'grpc_status_code', 'migrated'],
  ),
  volume_operation_total_errors: counter('Operations on volumes that failed', 'plugin_name', 'operation_name'),
} satisfies Record<string, Definition>;

/** The process. */
const self = {
  process_cpu_seconds_total: counter('Processor time of this process'),
  process_resident_memory_bytes: gauge('Resident memory of this process'),
  process_virtual_memory_bytes: gauge('Virtual memory of this process'),
  process_open_fds: gauge('Open files of this process'),
  process_max_fds: gauge('Files that this process may have open'),
  process_start_time_seconds: gauge('When this process started, seconds since 1970'),
  nodejs_eventloop_utilization: gauge('Share of the time since the last look in which the event loop was busy'),
  nodejs_heap_size_used_bytes: gauge('Heap in use'),
} satisfies Record<string, Definition>;

/** Probes; shown by /metrics/probes. */
const probes = {
  prober_probe_total: {
    ...counter('Probes by kind and result', 'container', 'namespace', 'pod', 'pod_uid', 'probe_type', 'result'),
    endpoint: 'probes',
  },
  prober_probe_duration_seconds: {
    ...histogram('Time of probes', undefined, 'container', 'namespace', 'pod', 'probe_type'),
    endpoint: 'probes',
  },
  deckhand_prober_lateness_seconds: {
    ...histogram('How long after its time a probe began', [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2]),
    endpoint: 'probes',
  },
} satisfies Record<string, Definition>;

/** Every metric by name. */
export const definitions = {
  ...pods,
  ...runtime,
  ...images,
  ...allocation,
  ...shutdown,
  ...talk,
  ...disks,
  ...volumes,
  ...self,
  ...probes,
} satisfies Record<string, Definition>;

/** Names of metrics. */
export type MetricName = keyof typeof definitions;
