/** Why an image cannot be built, in one word. */
export type ImageBuildErrorCode =
  | 'UNKNOWN_COMPONENT'
  | 'PROGRAM_MISSING'
  | 'LIBRARY_MISSING'
  | 'PACKAGE_MISSING'
  | 'BAD_PROGRAM'
  | 'BAD_NAME'
  | 'NOT_WRITABLE'
  | 'DISK_FULL';

/** An image that cannot be built. */
export class ImageBuildError extends Error {
  readonly code: ImageBuildErrorCode;
  readonly subject: string;
  constructor(code: ImageBuildErrorCode, subject: string, message: string, options?: ErrorOptions) {
    super(`${subject}: ${message}`, options);
    this.name = 'ImageBuildError';
    this.code = code;
    this.subject = subject;
  }
}

/** An error of the file system while something was written, as who builds an image is to be told. */
export function writeError(subject: string, cause: unknown): Error {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG')
    return new ImageBuildError(
      'DISK_FULL',
      subject,
      'no space left there: an image needs about 200 MB while it is made',
      {
        cause,
      },
    );
  if (code === 'ENOENT')
    return new ImageBuildError('NOT_WRITABLE', subject, 'there is no such directory: make it first', { cause });
  if (code !== undefined && ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR'].includes(code))
    return new ImageBuildError('NOT_WRITABLE', subject, `cannot be written (${code})`, { cause });
  return cause instanceof Error ? cause : new Error(String(cause));
}
