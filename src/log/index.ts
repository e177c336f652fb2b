export { checkLogging, type LoggingProblem } from './check-logging.ts';
export { createLogger, type Fields, jsonSink, type Level, type Logger, type LogSink, textSink } from './logger.ts';
