export { type FileLock, LockTakenError, lockFile } from './file-lock.ts';
export { type FollowOptions, followFiles } from './follow-files.ts';
export { fileTypes, makeSpecialFile, setExtendedAttribute, syncFileSystem } from './special-files.ts';
export { spreadSubdirectories } from './spread-subdirectories.ts';
