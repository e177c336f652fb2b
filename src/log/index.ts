export { createLogger, type Fields, type Level, type Logger, type LogSink, textSink } from './logger.ts';
