import type { FieldError, ResourceRules } from '../extension-points.ts';
import { invalidValue, notSupported, required } from './field-errors.ts';
import { setTemplateDefaults } from './pod-defaults.ts';
import { validateTemplate } from './pod-validation.ts';
import { notNegative, unchanged } from './workload-rules.ts';

const restartPolicies = ['OnFailure', 'Never'];

function setJobDefaults(spec: any): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? 6 : 2147483647;
  spec.completionMode ||= 'NonIndexed';
  spec.suspend ??= false;
  spec.podReplacementPolicy ||= spec.podFailurePolicy ? 'Failed' : 'TerminatingOrFailed';
  setTemplateDefaults(spec.template);
}

function validateJobSpec(spec: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const key of [
    'parallelism',
    'completions',
    'activeDeadlineSeconds',
    'backoffLimit',
    'ttlSecondsAfterFinished',
  ]) {
    errors.push(...notNegative(spec, key, field));
  }
  if (!['Indexed', 'NonIndexed'].includes(spec.completionMode)) {
    errors.push(notSupported(`${field}.completionMode`, spec.completionMode, ['Indexed', 'NonIndexed']));
  }
  if (spec.completionMode === 'Indexed' && spec.completions === undefined) {
    errors.push(required(`${field}.completions`, 'when completion mode is Indexed'));
  }
  const policy = spec.template?.spec?.restartPolicy;
  errors.push(...validateTemplate(spec.template, `${field}.template`));
  // The default of pods is none that a job may have.
  if (!restartPolicies.includes(policy)) {
    const text = 'valid values: "OnFailure", "Never"';
    errors.push(required(`${field}.template.spec.restartPolicy`, text));
  }
  return errors;
}

/** Labels that tie a job's pods to it. */
function addControllerLabels(job: any): void {
  const { metadata, spec } = job;
  const labels = {
    'batch.kubernetes.io/controller-uid': metadata.uid,
    'batch.kubernetes.io/job-name': metadata.name,
    'controller-uid': metadata.uid,
    'job-name': metadata.name,
  };
  spec.template.metadata ??= {};
  spec.template.metadata.labels = { ...spec.template.metadata.labels, ...labels };
  spec.selector ??= {};
  spec.selector.matchLabels = {
    ...spec.selector.matchLabels,
    'batch.kubernetes.io/controller-uid': metadata.uid,
  };
}

/** Rules of Jobs. */
export const jobRules: ResourceRules = {
  setDefaults: (job) => setJobDefaults(job.spec),
  prepareForCreate: (job) => {
    job.status = {};
    if (!job.spec.manualSelector) addControllerLabels(job);
  },
  validate: ({ spec }, old) => {
    const errors = validateJobSpec(spec, 'spec');
    if (!spec.selector) errors.push(required('spec.selector'));
    if (!old) return errors;
    errors.push(...unchanged(spec.selector, old.spec.selector, 'spec.selector'));
    errors.push(...unchanged(spec.completionMode, old.spec.completionMode, 'spec.completionMode'));
    if (spec.completionMode !== 'Indexed') {
      errors.push(...unchanged(spec.completions, old.spec.completions, 'spec.completions'));
    }
    // A suspended job that has not begun may still be told where to run.
    if (!old.spec.suspend) errors.push(...unchanged(spec.template, old.spec.template, 'spec.template'));
    return errors;
  },
  selectableFields: ({ status = {} }) => ({ 'status.successful': String(status.succeeded ?? 0) }),
};

const concurrencyPolicies = ['Allow', 'Forbid', 'Replace'];

/** Rules of CronJobs. */
export const cronJobRules: ResourceRules = {
  setDefaults: ({ spec }) => {
    spec.concurrencyPolicy ||= 'Allow';
    spec.suspend ??= false;
    spec.successfulJobsHistoryLimit ??= 3;
    spec.failedJobsHistoryLimit ??= 1;
    setTemplateDefaults(spec.jobTemplate?.spec?.template);
  },
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: ({ metadata, spec }) => {
    const errors: FieldError[] = [];
    if (metadata.name.length > 52) {
      errors.push(invalidValue('metadata.name', metadata.name, 'must be no more than 52 characters'));
    }
    if (!spec.schedule) errors.push(required('spec.schedule'));
    else if (!isSchedule(spec.schedule)) {
      errors.push(invalidValue('spec.schedule', spec.schedule, 'expected exactly 5 fields or a descriptor'));
    }
    if (!concurrencyPolicies.includes(spec.concurrencyPolicy)) {
      errors.push(notSupported('spec.concurrencyPolicy', spec.concurrencyPolicy, concurrencyPolicies));
    }
    for (const key of ['startingDeadlineSeconds', 'successfulJobsHistoryLimit', 'failedJobsHistoryLimit']) {
      errors.push(...notNegative(spec, key, 'spec'));
    }
    // The defaults of a job are filled in when the job is made.
    const job = structuredClone(spec.jobTemplate?.spec ?? {});
    setJobDefaults(job);
    return [...errors, ...validateJobSpec(job, 'spec.jobTemplate.spec')];
  },
};

const fieldPattern = /^(\*|\?|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(\/\d+)?(,(\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(\/\d+)?)*$/;

/** Whether the text is a schedule: five fields, or a name such as @daily. */
function isSchedule(text: string): boolean {
  if (/^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/.test(text) || /^@every \S+$/.test(text)) return true;
  const fields = text.trim().split(/\s+/);
  return fields.length === 5 && fields.every((field) => fieldPattern.test(field));
}
