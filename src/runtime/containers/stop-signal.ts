import { constants } from 'node:os';
import { type ContainerConfig, Signal } from '../../api/cri/index.ts';
import { invalid } from '../errors.ts';
import type { ImageConfig } from './image-config.ts';

const [rtMinimum, rtMaximum] = [34, 64];

/** Names that Linux knows and Node does not. */
const aliases: Readonly<Record<string, number>> = { SIGCLD: constants.signals.SIGCHLD };

/**
 * The signal that asks a container to end, as `SIGTERM` or `SIGRTMIN+3`: the CRI's, else the image's (a name with or
 * without its prefix, or a number), else TERM. @throws RuntimeError INVALID_ARGUMENT when the image names none
 */
export function stopSignalOf(
  config: Pick<ContainerConfig, 'stopSignal'>,
  image: Pick<ImageConfig, 'stopSignal'>,
): string {
  if (config.stopSignal !== Signal.RUNTIME_DEFAULT) {
    const name = Signal[config.stopSignal];
    if (name === undefined) throw invalid(`stop signal ${config.stopSignal} is not known`);
    return name.replace('PLUS', '+').replace('MINUS', '-');
  }
  const text = image.stopSignal.trim().toUpperCase();
  if (text === '') return 'SIGTERM';
  const name = /^\d+$/.test(text) ? signalName(Number(text)) : text.startsWith('SIG') ? text : `SIG${text}`;
  if (name === undefined || signalNumber(name) === undefined)
    throw invalid(`the image's stop signal "${image.stopSignal}" is not known`);
  return name;
}

/** The number of a signal; undefined when there is none of that name. */
export function signalNumber(name: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name);
  const known = (constants.signals as Record<string, number>)[name] ?? aliases[name];
  if (known !== undefined) return known;
  const match = /^SIGRT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
  if (!match) return undefined;
  const offset = Number(match[3] ?? 0) * (match[2] === '-' ? -1 : 1);
  const number = (match[1] === 'MIN' ? rtMinimum : rtMaximum) + offset;
  return number >= rtMinimum && number <= rtMaximum ? number : undefined;
}

/** The name of a signal as the CRI writes it; undefined for a number that is none. */
function signalName(number: number): string | undefined {
  if (number >= rtMinimum && number <= rtMaximum) {
    const half = 49;
    if (number === rtMinimum) return 'SIGRTMIN';
    if (number === rtMaximum) return 'SIGRTMAX';
    return number <= half ? `SIGRTMIN+${number - rtMinimum}` : `SIGRTMAX-${rtMaximum - number}`;
  }
  return Object.entries(constants.signals).find(([, one]) => one === number)?.[0];
}
