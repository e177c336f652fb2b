export { featuresOf, type HandlerFeatures, parseOciFeatures } from './features.ts';
