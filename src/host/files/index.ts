export { FileError, fileTypes, makeSpecialFile, setExtendedAttribute } from './special-files.ts';
