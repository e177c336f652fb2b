import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** One call of the scripted plugin. */
export interface CniCall {
  command: string;
  containerId: string;
  namespacePath: string;
  interfaceName: string;
  arguments: string;
  configuration: Record<string, any>;
}

/** A CNI plugin that notes how it is called, and does as it is told. */
export class CniScript {
  readonly directory: string;

  constructor(directory: string, name: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, name),
      `#!/bin/sh
input=$(cat | tr -d '\\n\\t')
printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_NETNS" "$CNI_IFNAME" "$CNI_ARGS" "$input" >> ${directory}/calls
if [ -e "${directory}/do-$CNI_COMMAND" ]; then . "${directory}/do-$CNI_COMMAND"; fi
case $CNI_COMMAND in
  VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}' ;;
  ADD) printf '{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"%s"}],"ips":[{"address":"10.77.0.5/24","interface":0}]}' "$CNI_NETNS" ;;
esac
`,
      { mode: 0o755 },
    );
  }

  /** What it does at a command, in shell, instead of what it does anyway; nothing undoes it. */
  on(command: string, script: string): void {
    const file = join(this.directory, `do-${command}`);
    if (script === '') rmSync(file, { force: true });
    else writeFileSync(file, script);
  }

  /** The calls since the last time. */
  calls(): CniCall[] {
    const file = join(this.directory, 'calls');
    let text = '';
    try {
      text = readFileSync(file, 'utf8');
    } catch {
      return [];
    }
    rmSync(file);
    return text
      .trim()
      .split('\n')
      .map((line) => {
        const [command = '', containerId = '', namespacePath = '', interfaceName = '', args = '', input] =
          line.split('\t');
        const configuration = JSON.parse(input || '{}') as Record<string, any>;
        return { command, containerId, namespacePath, interfaceName, arguments: args, configuration };
      });
  }
}
