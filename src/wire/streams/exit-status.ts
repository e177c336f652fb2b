/** How a remote command has ended: with an exit code, or not run at all because of an error. */
export type ExitStatus = { code: number } | { error: string };

/** The Status object of the protocols from v4 on. */
export function formatExitStatus(status: ExitStatus): string {
  if ('error' in status)
    return JSON.stringify({
      metadata: {},
      status: 'Failure',
      message: status.error,
      reason: 'InternalError',
      details: { causes: [{ message: status.error }] },
      code: 500,
    });
  if (status.code === 0) return JSON.stringify({ metadata: {}, status: 'Success' });
  return JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: exitText(status.code),
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(status.code) }] },
  });
}

/** What the older protocols say: nothing for success, otherwise a text. */
export function formatExitText(status: ExitStatus): string {
  if ('error' in status) return status.error;
  return status.code === 0 ? '' : exitText(status.code);
}

/** Reads what stands on an error stream, whichever protocol wrote it. Nothing at all is success. */
export function parseExitStatus(text: string): ExitStatus {
  if (text === '') return { code: 0 };
  try {
    const status = JSON.parse(text) as {
      status?: string;
      message?: string;
      reason?: string;
      details?: { causes?: { reason?: string; message?: string }[] };
    };
    if (status.status === 'Success') return { code: 0 };
    const cause = status.details?.causes?.find(({ reason }) => reason === 'ExitCode');
    const code = Number.parseInt(cause?.message ?? '', 10);
    if (status.reason === 'NonZeroExitCode' && Number.isInteger(code)) return { code };
    return { error: status.message ?? text };
  } catch {
    const code = /exit (?:status|code) (\d+)$/.exec(text)?.[1];
    return code ? { code: Number(code) } : { error: text };
  }
}

function exitText(code: number): string {
  return `command terminated with non-zero exit code: exit status ${code}`;
}
