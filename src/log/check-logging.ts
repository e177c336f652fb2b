/** What is wrong with a part of `logging`. */
export interface LoggingProblem {
  /** Path below `logging`, with a dot before it: `.format`. */
  field: string;
  message: string;
}

/**
 * Problems of a LoggingConfiguration, the part that the configuration files of Kubernetes' components have in common. Lines are
 * written at once to standard error: what asks for something else is a problem too.
 */
export function checkLogging(logging: Record<string, any>): LoggingProblem[] {
  const problems: LoggingProblem[] = [];
  const add = (field: string, message: string) => problems.push({ field, message });
  for (const name of Object.keys(logging))
    if (!['format', 'flushFrequency', 'verbosity', 'vmodule', 'options'].includes(name))
      add(`.${name}`, 'unknown field');
  const { format, verbosity, vmodule, options } = logging;
  if (format && !['text', 'json'].includes(format)) add('.format', `${JSON.stringify(format)} is none of text, json`);
  if (verbosity !== undefined && verbosity !== null && (!Number.isInteger(verbosity) || verbosity < 0))
    add('.verbosity', `must be a whole number, not ${JSON.stringify(verbosity)}`);
  if (vmodule?.length) add('.vmodule', 'lines belong to components here, not to source files');
  const { text, json, ...others } = options ?? {};
  for (const unknown of Object.keys(others)) add(`.options.${unknown}`, 'unknown field');
  for (const [name, part] of Object.entries<Record<string, unknown> | null | undefined>({ text, json }))
    for (const [key, value] of Object.entries(part ?? {})) {
      if (!['splitStream', 'infoBufferSize'].includes(key)) add(`.options.${name}.${key}`, 'unknown field');
      else if (value && value !== '0')
        add(`.options.${name}.${key}`, 'lines are written at once, all to standard error');
    }
  return problems;
}
