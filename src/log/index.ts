export { createLogger, type Fields, jsonSink, type Level, type Logger, type LogSink, textSink } from './logger.ts';
