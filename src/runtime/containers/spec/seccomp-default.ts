/**
 * The system calls of the RuntimeDefault profile. Everything that is not named here fails with EPERM.
 * Left out on purpose: kernel modules, kexec, reboot, swap, clocks, keyrings, raw I/O ports, userfaultfd, io_uring,
 * namespaces and mounts; those that a capability covers come back with it (`byCapability`).
 */

/** Calls that any container may make. */
export const alwaysAllowed =
  // files and directories
  (
    'access alarm chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 ' +
    'fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync ' +
    'fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ' +
    'ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat lchown lchown32 lgetxattr link linkat listxattr ' +
    'listxattrat llistxattr lremovexattr lseek _llseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat newfstatat ' +
    'open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv ' +
    'removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 ' +
    'statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs tee truncate truncate64 umask ' +
    'unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev name_to_handle_at cachestat ' +
    // waiting for events
    'epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd ' +
    'eventfd2 inotify_add_watch inotify_init inotify_init1 inotify_rm_watch pipe pipe2 poll ppoll ppoll_time64 pselect6 ' +
    'pselect6_time64 select _newselect signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime ' +
    'timerfd_settime64 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ' +
    'ioprio_get ioprio_set ' +
    // memory
    'brk fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_mempolicy madvise map_shadow_stack ' +
    'membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock ' +
    'munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages ' +
    // processes, users, signals
    'capget capset execve execveat exit exit_group getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups ' +
    'getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit ' +
    'get_robust_list getrusage getsid get_thread_area gettid getuid getuid32 kill landlock_add_rule landlock_create_ruleset ' +
    'landlock_restrict_self pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction ' +
    'rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 ' +
    'rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min ' +
    'sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr ' +
    'sched_setparam sched_setscheduler sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 ' +
    'setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid ' +
    'setreuid32 setrlimit set_robust_list setsid set_thread_area set_tid_address setuid setuid32 sigaltstack sigprocmask ' +
    'sigreturn tgkill tkill ugetrlimit vfork wait4 waitid waitpid ' +
    // time
    'clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer ' +
    'gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 ' +
    'timer_settime timer_settime64 times adjtimex clock_adjtime clock_adjtime64 ' +
    // network and messages
    'accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr mq_notify mq_open ' +
    'mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd recv ' +
    'recvfrom recvmmsg recvmmsg_time64 recvmsg semctl semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg ' +
    'sendto setsockopt shmat shmctl shmdt shmget shutdown socketcall socketpair ' +
    // the machine
    'arch_prctl getcpu getrandom modify_ldt sysinfo uname process_madvise ptrace process_vm_readv process_vm_writev ' +
    'set_mempolicy_home_node uretprobe lsm_get_self_attr lsm_list_modules listmount statmount'
  ).split(' ');

/** Calls that only ARM has, of programs for 32 bits. */
export const onArm = 'arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2'.split(' ');

/** Calls that come back with a capability. */
export const byCapability: Readonly<Record<string, string>> = {
  CAP_DAC_READ_SEARCH: 'open_by_handle_at',
  CAP_SYS_ADMIN:
    'bpf clone clone3 fanotify_init fanotify_mark fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr ' +
    'move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare',
  CAP_SYS_BOOT: 'reboot',
  CAP_SYS_CHROOT: 'chroot',
  CAP_SYS_MODULE: 'delete_module finit_module init_module',
  CAP_SYS_PACCT: 'acct',
  CAP_SYS_PTRACE: 'kcmp pidfd_getfd process_madvise',
  CAP_SYS_RAWIO: 'ioperm iopl',
  CAP_SYS_TIME: 'clock_settime clock_settime64 settimeofday stime',
  CAP_SYS_TTY_CONFIG: 'vhangup',
  CAP_SYS_NICE: 'get_mempolicy mbind set_mempolicy move_pages migrate_pages',
  CAP_SYSLOG: 'syslog',
  CAP_BPF: 'bpf',
  CAP_PERFMON: 'perf_event_open',
};

/** The persona values that a program may ask for: Linux, 32-bit memory, and asking for the present one. */
export const personalities = [0x0, 0x0008, 0x20000, 0x20008, 0xffffffff] as const;

/** Flags of clone(2) that make namespaces: new mount, cgroup, UTS, IPC, user, PID and network namespaces. */
export const namespaceFlags = 0x7e020000;
