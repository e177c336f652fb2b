export { loadYaml, plainJson } from './plain-json.ts';
