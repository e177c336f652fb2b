export { decodeProtobufBody, isProtobufBody } from './decode.ts';
export { ProtobufError } from './wire-reader.ts';
