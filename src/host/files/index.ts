export { fileTypes, makeSpecialFile, setExtendedAttribute, syncFileSystem } from './special-files.ts';
