/**
 * Node's HTTP modules, without what an import of them costs: an import reads every property of `node:http`, and one of
 * them loads Node's other HTTP client, which takes 30 ms of every start. Fetched like this it is left alone.
 */
export const http = process.getBuiltinModule('node:http');
export const https = process.getBuiltinModule('node:https');
